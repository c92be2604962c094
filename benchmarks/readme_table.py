"""Writes the README's result table from benchmarks/multi30k.json, so that the two cannot differ (a test checks it).

python benchmarks/readme_table.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- multi30k -->", "<!-- /multi30k -->"
NAMES = {"dense": "dense", "dense-more": "dense, trained on"}
KINDS = {"tprune": "tprune", "magnitude": "one-shot magnitude"}


def table(data: Mapping[str, Any]) -> str:
    """The table in Markdown, with a line on how it was made."""
    lines = [
        "| model | BLEU | against dense, trained on (95 %) | parameters | MACs | sentence | encoder | decoder step |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in data["rows"]:
        gap, speed = row["against_dense_more"], row["speedup"]["onnxruntime"]
        low, high = row["speedup_interval"]["onnxruntime"]["sentence"]
        lines.append(
            f"| {label(row['name'])} | {row['bleu']:.2f} | {gap['delta']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}] "
            f"| {row['parameters'] / 1e6:.2f} M | {row['macs'] / 1e6:.0f} M "
            f"| {speed['sentence']:.2f}x [{low:.2f}, {high:.2f}] | {speed['encoder']:.2f}x | {speed['decoder_step']:.2f}x |"
        )
    bench, machine = data["bench"], data["machine"]
    noisy = [row for row in data["rows"] if row["noise"]["noisy"]]
    lines += [
        "",
        f"Multi30k English to German, {data['sentences']:,} test sentences (four sets pooled), beam {data['beams']}, "
        f"`{data['rows'][0]['bleu_signature']}`, one seed. Speed: onnxruntime fp32, {bench['threads']} thread, batch {bench['batch']}, greedy, "
        f"against the dense model in turns, median of {bench['rounds']} rounds with its 95 % interval; {machine['cpu']}. "
        f"The bench found the machine too noisy for 3 % in {len(noisy)} of {len(data['rows'])} rows; see the intervals. "
        f"Made by `{data['command']}` at {data['commit']}.",
    ]
    return "\n".join(lines)


def label(name: str) -> str:
    """What the table calls a model."""
    if name in NAMES:
        return NAMES[name]
    kind, _, kept = name.partition("-")
    return f"{KINDS[kind]}, {kept} % of MACs"


def written(readme: str, content: str) -> str:
    """The README with the table between its markers."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


if __name__ == "__main__":
    data = json.loads((ROOT / "benchmarks" / "multi30k.json").read_text(encoding="utf-8"))
    readme = ROOT / "README.md"
    readme.write_text(written(readme.read_text(encoding="utf-8"), table(data)), encoding="utf-8")
