"""The frontier of a model as a table and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from tprune.budget.frontier import Point
from tprune.report.html import template
from tprune.report.scatter import Dot, scatter
from tprune.report.table import text_of


def frontier_table(points: Sequence[Point], quoted: str) -> str:
    """A line for each speed and precision; `quoted` is what times are of, such as a sentence."""
    table = Table("precision", "asked", "predicted", f"ms a {quoted}", "loss added, nats", "parameters", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for point in points:
        if point.speedup is None or point.ms is None or point.loss is None or point.parameters is None:
            table.add_row(point.precision, f"{point.asked:g}x", "out of reach")
            continue
        found = f"{point.speedup:.2f}x", f"{point.ms:.3g}", f"{point.loss:.3f}", f"{point.parameters:,}"
        table.add_row(point.precision, f"{point.asked:g}x", *found)
    return "\n".join([text_of(table), *dict.fromkeys(f"{p.precision}, {p.asked:g}x: {p.why}" for p in points if p.why)])


def write_plot(points: Sequence[Point], file: Path) -> None:
    """Expected loss against speed, as SVG."""
    dots = [
        Dot(f"{p.precision} {p.asked:g}x", (p.speedup,) * 3, (p.loss,) * 3, hollow=p.precision == "fp32")
        for p in points
        if p.speedup is not None and p.loss is not None
    ]
    if dots:
        page = template("frontier.svg").render(plot=scatter(dots, "loss added, nats"))
        file.write_text(page, encoding="utf-8")
