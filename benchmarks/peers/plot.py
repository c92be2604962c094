"""BLEU against measured speed, one mark a method, from the numbers of `run.py`: those of one JSON, so of one ruler.

    python -m benchmarks.peers.plot [--json benchmarks/peers/peers.json] [--out docs/peers.svg]

Needs matplotlib. With several seeds, marks are means over them, with the range of BLEU as bars.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt

from benchmarks.peers.words import named
from benchmarks.peers.words import sentence as speed
from tprune.support.files import read_json

matplotlib.use("svg")
HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
SHOWN = 4  # BLEU below the best; what lies lower is in the table alone
MARKS = "osD^v<>PX*hpd8H"
Rows = Sequence[Mapping[str, Any]]


def grouped(rows: Rows) -> dict[tuple[str, float], list[Mapping[str, Any]]]:
    """Rows that were done, by method and size."""
    found: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for row in rows:
        if "failed" not in row:
            found.setdefault((row["method"], named(row)), []).append(row)
    return found


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
            x,
            y,
            yerr=span,
            label=method,
            marker=MARKS[i % len(MARKS)],
            color=f"C{i % 10}",
            capsize=2,
            linestyle="-" if len(x) > 1 else "none",
            linewidth=0.8,
            markersize=5,
        )
    ms = data["rows"][0]["dense_latency_ms"]["onnxruntime"]["sentence"]
    axes.set(
        xlabel=f"times faster than dense: whole sentences, greedy, measured\n({ms:.2f} ms dense, "
        f"{data['bench']['threads']} thread, {data['machine']['cpu']})",
        ylabel=f"BLEU, beam {data['beams']}, {data['sentences']:,} test sentences",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=HERE / "peers.json")
    parser.add_argument("--out", type=Path, default=DOCS / "peers.svg")
    asked = parser.parse_args()
    plot(read_json(asked.json), asked.out)


if __name__ == "__main__":
    main()
