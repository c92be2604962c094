"""Writes the README's result table from benchmarks/peers/peers.json, so that the two cannot differ (a test checks it).

python benchmarks/readme_table.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NUMBERS = ROOT / "benchmarks" / "peers" / "peers.json"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
LABELS = {
    "dense": "dense",
    "dense-more": "dense, trained on",
    "ours": "**tprune**",
    "fisher": "Fisher masks",
    "second-order": "ZipLM-like",
    "michel": "gradients (Michel)",
    "hard-concrete": "hard-concrete gates",
    "torch-pruning": "Torch-Pruning",
    "magnitude": "magnitude",
    "group-lasso": "group lasso (WMT21)",
    "tprune-paper": "TPrune as published",
}


def table(data: Mapping[str, Any]) -> str:
    """The table in Markdown, of the first seed, with a line on how it was made."""
    lines = [
        "| model | asked | measured: sentence | encoder | decoder step | BLEU | against dense, trained on (95 %) | parameters |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = [r for r in data["rows"] if r["method"] in LABELS and "failed" not in r and r["seed"] in (None, 0)]
    for row in sorted(rows, key=lambda r: (r["asked"], -r["bleu"])):
        gap, speed = row.get("against_dense_more"), row["speedup"]["onnxruntime"]
        low, high = row["speedup_interval"]["onnxruntime"]["sentence"]
        found = "" if gap is None else f"{gap['delta']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}]"
        asked = "" if row["asked"] == 1 else f"{row['asked']:g}x"
        lines.append(
            f"| {LABELS[row['method']]} | {asked} | {speed['sentence']:.2f}x [{low:.2f}, {high:.2f}] | {speed['encoder']:.2f}x "
            f"| {speed['decoder_step']:.2f}x | {row['bleu']:.2f} | {found} | {row['parameters'] / 1e6:.2f} M |"
        )
    bench, noisy = data["bench"], sum(row["noise"]["noisy"] for row in rows)
    lines += [
        "",
        f"Multi30k English to German, {data['sentences']:,} test sentences (four sets pooled), beam {data['beams']}, "
        f"`{rows[0]['bleu_signature']}`, one seed. Speed: onnxruntime fp32, {bench['threads']} thread, batch {bench['batch']}, greedy, "
        f"against the dense model in turns, median of {bench['rounds']} rounds with its 95 % interval; {data['machine']['cpu']}. "
        f"The bench found the machine too noisy for 3 % in {noisy} of {len(rows)} rows; see the intervals.",
    ]
    return "\n".join(lines)


def written(readme: str, content: str) -> str:
    """The README with the table between its markers."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    data = json.loads(NUMBERS.read_text(encoding="utf-8"))
    readme.write_text(written(readme.read_text(encoding="utf-8"), table(data)), encoding="utf-8")
