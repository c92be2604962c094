"""What the tables of the peers say beside their numbers: names, in what rows differ from the method they name, and the
ruler.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tprune.bench.statistics import QUIET, half_width
from tprune.support.files import read_json

DIFFERS: Mapping[str, str] = read_json(Path(__file__).with_name("differs.json"))
SHORTLIST = "fewer-tokens"  # the dense model, trained on, that writes only the tokens that smaller models may write
WITHOUT = ("dense", "dense-more")  # they write all tokens
WHOLE = (
    "one process a model for all rounds, not pinned to cores; in a round one model translates all sentences, then the "
    "next"
)
# of tables that were made before results said it
PROTOCOLS = {
    "c29e292b14fb+": WHOLE,
    "8a534645b2f6": WHOLE,
    "d581d16c8ea9": "new processes in every round, pinned to the same cores; models take turns by the sentence",
}
Row = Mapping[str, Any]


def named(row: Row) -> float:
    """The speed in a row's name, which tells apart what one method made at several.

    See `asked.py` for what was asked.
    """
    return float(row.get("named", row["asked"]))


def sentence(row: Row) -> float:
    """Measured speed of whole sentences, dense over this model, of a row or of a mean over seeds."""
    return float(row["speedup"].get("onnxruntime", row["speedup"])["sentence"])


def asked(row: Row) -> str:
    """What was asked for before anything was measured."""
    if row["method"] in (*WITHOUT, SHORTLIST):
        return ""
    return "not stored" if row["asked"] is None else f"{row['asked']:g}x"


def aimed(row: Row) -> str:
    """What the latency table was asked for, so that the model would be measured as asked."""
    found = row["asked"] if row.get("aim") is None else row["aim"]
    return "" if found is None or not asked(row) else f"{found:.3g}x"


def control(rows: Sequence[Row]) -> Row | None:
    """The dense model with the shortlist of tokens, where it was timed in the same rounds."""
    return next((row for row in rows if row["method"] == SHORTLIST and "failed" not in row), None)


def like_for_like(row: Row, shortlisted: Row | None) -> str:
    """Speed against the dense model that writes as few tokens; with its interval where rounds were stored."""
    if shortlisted is None or row["method"] in (*WITHOUT, SHORTLIST):
        return ""
    if stored := row.get("like_for_like"):
        return f"{stored['sentence']:.2f}x [{stored['low']:.2f}, {stored['high']:.2f}]"
    return f"{sentence(row) / sentence(shortlisted):.2f}x"


def gap(found: Mapping[str, Any] | None) -> str:
    """A difference in BLEU with its interval."""
    return "" if found is None else f"{found['delta']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}]"


def footnotes(data: Mapping[str, Any], methods: Iterable[str]) -> tuple[Mapping[str, str], list[str]]:
    """A mark for every method that differs from what its name says, and the notes in the order of the marks.

    Args:
        data: a comparison; its own `differs` go before those of all.
        methods: those shown.
    """
    marks: dict[str, str] = {}
    notes: dict[str, int] = {}
    updates = next(
        (row["recovery_steps"] for row in data["rows"] if row["method"] == "dense-more" and "failed" not in row), 0
    )
    differs = {**DIFFERS, **data.get("differs", {})}
    for method in methods:
        if text := differs.get(method, "").format(updates=updates):
            marks[method] = f" ({notes.setdefault(text, len(notes) + 1)})"
    return marks, [f"({number}) {text}" for text, number in notes.items()]


def ruler(data: Mapping[str, Any]) -> str:
    """What the speeds of a table were measured with, and that they compare with no other table's."""
    rows = [row for row in data["rows"] if "failed" not in row]
    ms = [row["dense_latency_ms"]["onnxruntime"]["sentence"] for row in rows]
    bench, machine = data["bench"], data["machine"]
    protocol = bench.get("protocol") or PROTOCOLS.get(data["commit"], "protocol not stored")
    dense = f"{ms[0]:.2f} ms" if max(ms) == min(ms) else f"{min(ms):.2f} to {max(ms):.2f} ms, by occasion"
    return (
        f"Ruler of this table: a sentence takes the dense model {dense} (median); onnxruntime fp32, {bench['threads']} "
        f"thread, batch {bench['batch']}, greedy, {bench['sentences']} sentences a round, median of {bench['rounds']} "
        f"rounds ({protocol}); {machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python "
        f"{machine['python']}; source at {data['commit']}. Speeds compare within this table only."
    )


def noisy(rows: Sequence[Row]) -> str:
    """In how many rows the quoted speed is known worse than to 3 %.

    Judged by the stored interval, not by a stored flag.
    """
    wide = sum(half_width(row["speedup_interval"]["onnxruntime"]["sentence"]) > QUIET for row in rows)
    return f"the 95 % interval of the speed reaches farther than ±{QUIET:.0%} in {wide} of {len(rows)} timings"
