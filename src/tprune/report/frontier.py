"""The frontier of a model as a table and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from tprune.budget.frontier import Point
from tprune.core.objectives import DEFAULT, Objective, objective_rule
from tprune.report.html import template
from tprune.report.scatter import Dot, scatter
from tprune.report.table import text_of


def frontier_table(points: Sequence[Point], quoted: str, objective: Objective = DEFAULT) -> str:
    """A line for each speed and precision.

    Args:
        points: of the frontier.
        quoted: what times are of, such as a sentence.
        objective: what losses are of.
    """
    added = objective_rule(objective).added
    table = Table("precision", "asked", "predicted", f"ms a {quoted}", added, "parameters", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for point in points:
        if point.speedup is None or point.ms is None or point.loss is None or point.parameters is None:
            table.add_row(point.precision, f"{point.asked:g}x", "out of reach")
            continue
        found = f"{point.speedup:.2f}x", f"{point.ms:.3g}", f"{point.loss:.3f}", f"{point.parameters:,}"
        table.add_row(point.precision, f"{point.asked:g}x", *found)
    return "\n".join([text_of(table), *dict.fromkeys(f"{p.precision}, {p.asked:g}x: {p.why}" for p in points if p.why)])


def write_plot(points: Sequence[Point], file: Path, objective: Objective = DEFAULT) -> None:
    """Expected loss against speed, as SVG.

    Args:
        points: of the frontier.
        file: to write.
        objective: what losses are of.
    """
    dots = [
        Dot(f"{p.precision} {p.asked:g}x", (p.speedup,) * 3, (p.loss,) * 3, hollow=p.precision == "fp32")
        for p in points
        if p.speedup is not None and p.loss is not None
    ]
    if dots:
        page = template("frontier.svg").render(plot=scatter(dots, objective_rule(objective).added))
        file.write_text(page, encoding="utf-8")
