"""The table of the runtimes' times, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

HEAD = (
    "model",
    "runtime, precision",
    "threads",
    "encoder",
    "step",
    "sentence, ms",
    "speed of a sentence",
    "against int8",
)
BEAM_HEAD = ("beam 4, ms", "beam 4 against int8")
PASS_HEAD = ("model", "runtime, precision", "threads", "a pass, ms", "speed of a pass", "against int8")
CASES = {
    "d512": "d 512, 6 + 6 layers, random weights",
    "d256": "d 256, 3 + 3 layers, Multi30k",
    "d256-2x": "d 256, 3 + 3 layers, Multi30k, asked for 2x",
    "bert": "BERT, 128 wide, 4 layers, SST-2",
    "resnet": "ResNet-20, CIFAR-10 as JPEG",
    "d128": "d 128, 3 + 2 layers, Multi30k",
}
SIDES = {
    "dense": "dense",
    "half": "half of heads and FFN",
    "half-1": "half of heads and FFN, second seed",
    "half-2": "half of heads and FFN, third seed",
    "2x": "asked for 2x",
}


def runtimes_table(data: Mapping[str, Any]) -> str:
    """A table for each model and machine, as times of two machines do not compare; then what was refused, and how."""
    rows = sorted(data["rows"], key=lambda row: (list(CASES).index(row["case"]), row["threads"], row["runtime"]))
    tables = [_group(*key, some) for key, some in _by_machine(rows)]
    refused = [
        f"- {row['runtime']}, {name}: {reason}"
        for row in rows
        if row["threads"] == min(each["threads"] for each in rows)
        for name, reason in row["refused"].items()
        if name.startswith("dense")
    ]
    how = (
        "Milliseconds are medians, ratios medians of rounds with 95 % intervals: dense fp32 and dense int8 of the same "
        "runtime, threads and rounds over the line's model. Encoder: 25 tokens; step: after 12 tokens; sentence: "
        f"greedy, {rows[0]['sentences']} sentences of the Multi30k validation or test set a round; batch 1; "
        f"{rows[0]['rounds']} rounds, processes of each round its own; "
        "runtimes were timed one after the other, so that milliseconds compare within a runtime."
    )
    said = ["Not run:", "", *dict.fromkeys(refused), ""] if refused else []
    return "\n".join([*tables, *said, how])


def one_pass_table(data: Mapping[str, Any]) -> str:
    """As `runtimes_table`, of models that run in one pass: half of their multiplications are gone."""
    rows = sorted(data["rows"], key=lambda row: (list(CASES).index(row["case"]), row["threads"], row["runtime"]))
    return "\n".join(
        _titled(*key, some, [*PASS_HEAD, "bytes", "accuracy, %"], _pass_lines) for key, some in _by_machine(rows)
    )


def _by_machine(rows: Sequence[Row]) -> Iterable[tuple[tuple[str, str], list[Row]]]:
    """Rows of one model and machine together."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["case"], row["machine"]["cpu"]), []).append(row)
    return groups.items()


def _titled(
    case: str, cpu: str, rows: Sequence[Row], head: Sequence[str], lines: Callable[[Row], Iterator[str]]
) -> str:
    """The table of one model on one machine."""
    sources = ", ".join(sorted({row["commit"] for row in rows}))
    title = f"**{CASES[case]}** ({cpu}; source at {sources})"
    ruled = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join([title, "", *ruled, *(line for row in rows for line in lines(row)), ""])


def _group(case: str, cpu: str, rows: Sequence[Row]) -> str:
    """The table of a model that translates; with beams where they were timed."""
    beams = any("beam_4_ms" in model for row in rows for model in row["models"].values())
    head = [*HEAD, *(BEAM_HEAD if beams else ()), "bytes", "BLEU, greedy / beam 4"]
    return _titled(case, cpu, rows, head, lambda row: _lines(row, beams))


def _pass_lines(row: Row) -> Iterator[str]:
    sides = {"dense": "dense", "half": "half of the multiplications"}
    for name, model in row["models"].items():
        side, _, precision = name.rpartition(" ")
        ratios = [_ratio(model["against"].get(one, {}).get("pass")) for one in ("fp32", "int8")]
        start = f"| {sides[side]} | {row['runtime']}, {precision} | {row['threads']} | {model['ms']['pass']:.2f}"
        yield " | ".join([start, *ratios, f"{model['bytes'] / 1e6:.2f} M", f"{model['score']['value']:.2f}"]) + " |"


def _lines(row: Row, beams: bool) -> Iterator[str]:
    for name, model in row["models"].items():
        side, _, precision = name.rpartition(" ")
        ms, against = model["ms"], model["against"]
        parts = [f"{ms[phase]:.2f}" if phase in ms else "" for phase in ("encoder", "decoder_step", "sentence")]
        ratios = [_ratio(against.get(one, {}).get("sentence")) for one in ("fp32", "int8")]
        searched = _searched(model) if beams else []
        scores = model.get("scores", {})
        bleu = " / ".join(f"{scores[beam]['bleu']:.2f}" for beam in ("beam 1", "beam 4") if beam in scores)
        start = f"| {SIDES.get(side, side)} | {row['runtime']}, {precision} | {row['threads']}"
        yield " | ".join([start, *parts, *ratios, *searched, f"{model['bytes'] / 1e6:.1f} M", bleu]) + " |"


def _searched(model: Row) -> list[str]:
    """The time of a sentence with four beams, and against dense int8."""
    if "beam_4_ms" not in model:
        return ["", ""]
    return [f"{model['beam_4_ms']:.2f}", _ratio(model["beam_4_against"].get("int8"))]


def _ratio(found: list[float] | None) -> str:
    return "" if found is None else f"{found[0]:.2f} [{found[1]:.2f}, {found[2]:.2f}]"
