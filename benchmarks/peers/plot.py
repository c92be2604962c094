"""BLEU against measured speed, one mark a method, from the numbers of `run.py`; and the table in Markdown.

    python benchmarks/peers/plot.py [--json benchmarks/peers/peers.json] [--out docs/peers.svg] [--docs docs/peers.md]

Needs matplotlib. With several seeds, marks are means over them, with the range as bars. The page also has the table of an earlier
screening, with another recipe of recovery, from `screening.json`, and that of another dense model, from `again.json`.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).parents[1]))
from readme_table import gap, written
from tprune.files import read_json

matplotlib.use("svg")
HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
AGAIN = HERE / "again.json"
SCREENING = HERE / "screening.json"
SHOWN = 4  # BLEU below the best; what lies lower is in the table alone
MARKS = "osD^v<>PX*hpd8H"
Rows = Sequence[Mapping[str, Any]]


def grouped(rows: Rows) -> dict[tuple[str, float], list[Mapping[str, Any]]]:
    """Rows that were done, by method and speed asked for."""
    found: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for row in rows:
        if "failed" not in row:
            found.setdefault((row["method"], row["asked"]), []).append(row)
    return found


def speed(row: Mapping[str, Any]) -> float:
    """Measured, of whole sentences."""
    return float(row["speedup"]["onnxruntime"]["sentence"])


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def plot(data: Mapping[str, Any], out: Path) -> None:
    """Writes the figure as SVG: what lies near the best."""
    plt.rcParams.update({"svg.hashsalt": "tprune", "font.size": 9})
    figure, axes = plt.subplots(figsize=(7, 4.5))
    best = max(row["bleu"] for row in data["rows"] if "failed" not in row)
    found = grouped([row for row in data["rows"] if "failed" not in row and row["bleu"] >= best - SHOWN])
    for i, method in enumerate(dict.fromkeys(method for method, _ in found)):
        mine = sorted((rows for (name, _), rows in found.items() if name == method), key=lambda rows: speed(rows[0]))
        x, y = ([mean([f(r) for r in rows]) for rows in mine] for f in (speed, lambda r: r["bleu"]))
        span = [
            [abs(edge([r["bleu"] for r in rows]) - m) for rows, m in zip(mine, y, strict=True)] for edge in (min, max)
        ]
        axes.errorbar(
            x, y, yerr=span, label=method, marker=MARKS[i % len(MARKS)], color=f"C{i % 10}", capsize=2,
            linestyle="-" if len(x) > 1 else "none", linewidth=0.8, markersize=5,
        )  # fmt: skip
    axes.set(
        xlabel="times faster than dense, whole sentences, measured",
        ylabel=f"BLEU, {data['sentences']:,} test sentences",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def markdown(data: Mapping[str, Any]) -> str:
    """The table: one line for each model, the best first at each speed, then what was not reached, with the reason."""
    trained_on = any("against_dense_more" in row for row in data["rows"])
    lines = [
        f"| method | asked | seed | measured | BLEU | against dense{', trained on' if trained_on else ''} (95 %) | MACs | pruning: s, GiB | units: pruning, all | notes |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    done = [row for row in data["rows"] if "failed" not in row]
    for row in sorted(done, key=lambda row: (row["asked"], -row["bleu"])):
        low, high = row["speedup_interval"]["onnxruntime"]["sentence"]
        cost = row.get("pruning")
        lines.append(
            f"| {row['method']} | {row['asked']:g}x | {'' if row['seed'] is None else row['seed']} | {speed(row):.2f}x [{low:.2f}, {high:.2f}] "
            f"| {row['bleu']:.2f} | {gap(row.get('against_dense_more' if trained_on else 'against_dense'))} | {row['macs'] / 1e6:.0f} M "
            f"| {'' if cost is None else _cost(cost)} | {'' if cost is None else _units(row)} | {_notes(row)} |"
        )
    for row in data["rows"]:
        if "failed" in row:
            seed = "" if row["seed"] is None else row["seed"]
            lines.append(f"| {row['method']} | {row['asked']:g}x | {seed} | not reached | | | | | | {row['failed']} |")
    noisy = sum(row["noise"]["noisy"] for row in done)
    lines += [
        "",
        f"{data['sentences']:,} test sentences (four sets pooled), beam {data['beams']}; speed: onnxruntime fp32, {data['bench']['threads']} thread, "
        f"greedy, in turns with dense; {noisy} of {len(done)} rows too noisy for 3 %. {data['machine']['cpu']}. `{data['command']}` at {data['commit']}.",
    ]
    return "\n".join(lines)


def _cost(cost: Mapping[str, float]) -> str:
    return f"{cost['seconds']:.0f}, {cost['peak'] / 2**30:.2f}"


def _units(row: Mapping[str, Any]) -> str:
    return f"{row['pruning_units']:.0f}, {row['spent']:.0f}"


def _notes(row: Mapping[str, Any]) -> str:
    off = row.get("predicted", math.nan) / speed(row)
    told = [] if math.isnan(off) or abs(off - 1) < 0.1 else [f"predicted {row['predicted']:.2f}x"]
    return "; ".join([*([row["reason"]] if row.get("reason") else []), *row.get("notes", []), *told])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=HERE / "peers.json")
    parser.add_argument("--out", type=Path, default=DOCS / "peers.svg")
    parser.add_argument("--docs", type=Path, default=DOCS / "peers.md", help="the page whose table is replaced")
    asked = parser.parse_args()
    data = read_json(asked.json)
    plot(data, asked.out)
    page = asked.docs.read_text(encoding="utf-8")
    for name, numbers in (
        ("peers", data),
        ("again", read_json(AGAIN)),
        ("screening", read_json(SCREENING)),
    ):
        page = written(page, name, markdown(numbers))
    asked.docs.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
