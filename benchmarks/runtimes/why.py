"""Why a speedup is smaller than the cut in multiplications: where a run's time goes, by operator of onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from benchmarks.runtimes.table import CASES, SIDES

SHARE = 0.9  # of the cut in multiplications; what is at least so much faster needs no reason
PRODUCTS = ("MatMul", "Gemm", "FusedGemm", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits")
HEAD = (
    "| model, precision | cut in multiplications | measured | encoder: products, µs | encoder: others, µs | "
    "step: products, µs | step: others, µs |"
)


def why_table(data: Mapping[str, Any]) -> str:
    """A line for each pruned model whose speedup for sentences is below 0.9 of its cut in multiplications.

    Both count from the dense model in the same precision.
    """
    lines = [line for row in data["rows"] if row["operators"] for line in _lines(row)]
    return "\n".join([HEAD, "|---" * 7 + "|", *lines])


def _lines(row: Mapping[str, Any]) -> Iterator[str]:
    for name, model in row["models"].items():
        side, _, precision = name.rpartition(" ")
        dense = row["models"].get(f"dense {precision}")
        if side == "dense" or dense is None:
            continue
        cut = dense["macs"] / model["macs"]
        rounds = zip(dense["rounds_ms"]["sentence"], model["rounds_ms"]["sentence"], strict=True)
        measured = median(one / other for one, other in rounds)
        if measured < SHARE * cut:
            spent = [row["operators"][each] for each in (f"dense {precision}", name)]
            cells = [
                f"{_of(spent[0][graph], products):.0f} → {_of(spent[1][graph], products):.0f}"
                for graph in ("encoder", "decoder")
                for products in (True, False)
            ]
            start = f"| {CASES[row['case']]}: {SIDES.get(side, side)}, {precision}"
            yield " | ".join([start, f"{cut:.2f}x", f"{measured:.2f}x", *cells]) + " |"


def _of(operators: Mapping[str, float], products: bool) -> float:
    """Microseconds in products of weights, or in all other operators."""
    return sum(spent for name, spent in operators.items() if (name in PRODUCTS) is products)
