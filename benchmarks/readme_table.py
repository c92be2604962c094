"""Writes the README's result tables from benchmarks/peers/peers.json and again.json, and what the pages of recovery, recipes, one shot and milliseconds
say of the JSON files in benchmarks, so that they cannot differ (a test checks it).

python benchmarks/readme_table.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NUMBERS = ROOT / "benchmarks" / "peers" / "peers.json"
AGAIN = NUMBERS.with_name("again.json")
RECOVERY = ROOT / "benchmarks" / "recovery.json"
RECIPES = ROOT / "benchmarks" / "recipes.json"
ONE_SHOT = ROOT / "benchmarks" / "one_shot.json"
LATENCY = ROOT / "benchmarks" / "latency.json"
KEPT = LATENCY.with_name("latency-kept-table.json")
PARTS = {
    "dense": "the dense model", "cut": "cut, untrained", "labels": "references", "sequence": "the teacher's translations",
    "word": "references, and words", "word+sequence": "translations, and words", "hidden": "references, and hidden states",
    "all": "translations, words, hidden states", "all+rewound": "the same, rates rewound", "at once": "cut by norms at once, references",
    "in rounds": "cut by norms in 3 rounds, references",
}  # fmt: skip
FIRST, SECOND = (1, 2, 2.7), (1, 3)  # speeds; others, and other methods, are in docs/peers.md
LABELS = {
    "dense": "dense",
    "dense-more": "dense, trained on",
    "student-more": "student from scratch, 6 times the training",
    "ours": "**tprune**",
    "ours-regain": "**tprune**, `regain: {ffn: 0.75}`",
    "fisher": "Fisher masks",
    "second-order": "ZipLM-like",
    "fisher-repaired": "Fisher masks, repaired by tprune",
    "michel": "gradients (Michel)",
    "tprune-paper": "TPrune as published",
}


def table(data: Mapping[str, Any], speeds: Sequence[float], again: bool = False) -> str:
    """The table in Markdown, a line for each method and speed, means over seeds; and how it was made."""
    lines = [
        "| model | asked | measured | BLEU | against dense, trained on | parameters |",
        "|---|---|---|---|---|---|",
    ]
    rows = [row for row in data["together"] if row["method"] in LABELS and row["asked"] in speeds]
    for row in sorted(rows, key=lambda r: (r["asked"], -r["bleu"])):
        speed, (low, high) = row["speedup"], row["speedup_range"]
        lines.append(
            f"| {LABELS[row['method']]} | {'' if row['asked'] == 1 else format(row['asked'], 'g') + 'x'} "
            f"| {speed['sentence']:.2f}x [{low:.2f}, {high:.2f}] | {row['bleu']:.2f}{_seeds(row)} "
            f"| {gap(row.get('against_dense_more'))} | {row['parameters'] / 1e6:.2f} M |"
        )
    noisy, models = sum(r["noisy"] for r in rows), sum(len(r["seeds"]) for r in rows)
    steady = f"{data['machine']['cpu']}; too noisy for 3 % in {noisy} of {models} timings."
    return "\n".join([*lines, "", f"Made in the same way; {steady}" if again else f"{_made(data)}; {steady}"])


def _made(data: Mapping[str, Any]) -> str:
    bench = data["bench"]
    signature = next(r["bleu_signature"] for r in data["rows"] if "failed" not in r)
    return (
        f"Multi30k English to German, {data['sentences']:,} test sentences (four sets pooled), beam {data['beams']}, `{signature}`; in brackets the "
        f"range and number of seeds, else one. Differences with 95 % intervals by paired bootstrap. Speed: whole sentences, onnxruntime fp32, "
        f"{bench['threads']} thread, batch {bench['batch']}, greedy, against the dense model in turns, median of {bench['rounds']} rounds with its "
        f"95 % interval"
    )


def recovery_table(data: Mapping[str, Any]) -> str:
    """What the parts of recovery give, in Markdown."""
    lines = ["| trained on, towards | steps | NLL | BLEU | against references alone |", "|---|---|---|---|---|"]
    for row in sorted(data["rows"], key=lambda r: list(PARTS).index(r["name"])):
        steps = row["training"]["steps"] if "training" in row else ""
        delta = gap(row["against_labels"]["beam4"]) if row["name"] not in ("labels", "dense", "cut") else ""
        lines.append(f"| {PARTS[row['name']]} | {steps} | {row['nll']:.2f} | {row['beam4']['bleu']:.2f} | {delta} |")
    return "\n".join(lines)


def recipes_table(data: Mapping[str, Any]) -> str:
    """What the recipes gave, in Markdown, a line for each run."""
    lines = ["| recipe | asked | BLEU: dense | pruned | difference | speed of a sentence | parameters | the machine |", "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, run in data.items():
        ((runtime, speed),) = run["speedup"].items()
        low, high = run["speedup_interval"][runtime]["sentence"]
        (unit,) = set(run["target"]) - {"asked", "reached"}
        sizes = " → ".join(f"{run[side]['parameters'] / 1e6:.2f}" for side in ("dense", "pruned"))
        lines.append(
            f"| `{name}` | {unit} {run['target'][unit]:g} | {run['dense']['bleu']:.2f} | {run['pruned']['bleu']:.2f} | {gap(run['bleu_difference'])} "
            f"| {speed['sentence']:.2f}x [{low:.2f}, {high:.2f}] | {sizes} M | {run['machine']['cpu']}, {'noisy' if run['noise']['noisy'] else 'quiet'} |"
        )
    return "\n".join(lines)


def one_shot_table(data: Mapping[str, Any]) -> str:
    """Losses without training, in Markdown, a line for each way."""
    shares = sorted({row["share"] for row in data["rows"]}, reverse=True)
    lines = [
        f"| sizes: order, repair | {' | '.join(f'{share:.0%}' for share in shares)} | seconds |",
        "|---" * (len(shares) + 2) + "|",
    ]
    for way in dict.fromkeys(row["way"] for row in data["rows"]):
        rows = {row["share"]: row for row in data["rows"] if row["way"] == way}
        cells = " | ".join(f"{rows[s]['loss']:.4f} ({rows[s]['macs'] / data['dense_macs']:.1%})" for s in shares)
        lines.append(f"| {way} | {cells} | {sum(row['seconds'] for row in rows.values()):.0f} |")
    lines += [
        "",
        f"Dense: {data['dense_loss']:.4f}, {data['dense_macs'] / 1e6:.0f} M MACs. `{data['command']}` at {data['commit']}.",
    ]
    return "\n".join(lines)


def latency_text(data: Mapping[str, Any], source: Path) -> str:
    """How well latency tables predict, in a paragraph."""
    rows, setting = data["rows"], data["table"]["setting"]
    measured = [row["measured"] for row in rows]
    return (
        f"Over {len(rows)} random plans (heads, dimensions inside heads, FFN units, whole sublayers, and in every third the width) of a Marian (256 wide, 3+3 layers), "
        f"predicted and measured speedup of whole sentences differ by {data['median_error']:.1%} in the median; {data['missed']} of {len(rows)} miss by more than 5 %, "
        f"the worst by {data['largest_error']:.0%} ({min(measured):.2f}x to {max(measured):.2f}x measured; {setting['runtime']}, {setting['threads']} thread, batch "
        f"{setting['batch']}, {data['machine']['cpu']}; `benchmarks/{source.name}`)."
    )


def _seeds(row: Mapping[str, Any]) -> str:
    low, high = row["bleu_range"]
    return f" ({low:.2f} to {high:.2f}; {len(row['seeds'])})" if len(row["seeds"]) > 1 else ""


def gap(found: Mapping[str, Any] | None) -> str:
    """A difference in BLEU with its interval."""
    return "" if found is None else f"{found['delta']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}]"


def written(page: str, name: str, content: str) -> str:
    """The page with a table between the markers of that name."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


PAGES = (
    (ROOT / "README.md", "results", NUMBERS, partial(table, speeds=FIRST)),
    (ROOT / "README.md", "again", AGAIN, partial(table, speeds=SECOND, again=True)),
    (ROOT / "docs" / "recovery.md", "recovery", RECOVERY, recovery_table),
    (ROOT / "docs" / "recipes.md", "recipes", RECIPES, recipes_table),
    (ROOT / "docs" / "one-shot.md", "one-shot", ONE_SHOT, one_shot_table),
    (ROOT / "docs" / "milliseconds.md", "latency", LATENCY, partial(latency_text, source=LATENCY)),
    (ROOT / "docs" / "milliseconds.md", "latency-kept", KEPT, partial(latency_text, source=KEPT)),
)

if __name__ == "__main__":
    for page, name, numbers, made in PAGES:
        content = made(json.loads(numbers.read_text(encoding="utf-8")))
        page.write_text(written(page.read_text(encoding="utf-8"), name, content), encoding="utf-8")
