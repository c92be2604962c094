"""The table of all precisions: dense and pruned, in single precision and in smaller numbers, from one set of rounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.table import Table

from tprune.report.results import RunResults
from tprune.report.sides import PrecisionRow, Ratio
from tprune.support.errors import InputError


def in_precision(results: RunResults, precision: str, run: Path) -> RunResults:
    """The results of a run with the rows of one precision alone.

    Args:
        results: with all its rows.
        precision: the name of the precision.
        run: its directory.

    Raises:
        InputError: the run has no such row; says which it has.
    """
    rows = tuple(row for row in results.rows if row.precision == precision)
    if not rows:
        known = ", ".join(dict.fromkeys(row.precision for row in results.rows))
        raise InputError(f"{run}: has no rows in {precision}; " + (f"it has {known}" if known else "it has none"))
    return replace(results, rows=rows)


def head(results: RunResults) -> tuple[str, ...]:
    """The names of the columns, of this run's metric and phase."""
    return "Model", results.metric, "Difference", "MB", f"{results.phase}, ms", "Speed", "In its precision"


def lines(results: RunResults) -> list[tuple[str, ...]]:
    """A line for each row, as text."""
    return [_line(results, row) for row in results.rows]


def _line(results: RunResults, row: PrecisionRow) -> tuple[str, ...]:
    score = row.result.scores[results.metric]
    digits = score.metric.digits
    change = row.change
    gap = "" if change is None else f"{change.delta:+.{digits}f} [{change.low:+.{digits}f}, {change.high:+.{digits}f}]"
    ms = row.result.latency_ms[results.runtime].get(results.phase)
    return (
        f"{row.model} {row.precision}",
        f"{score.value:.{digits}f}",
        gap,
        f"{row.result.bytes / 1e6:.2f}",
        "" if ms is None else f"{ms:.3g}",
        _ratio(row.speedup.get(results.phase)),
        _ratio(row.same.get(results.phase)),
    )


def _ratio(found: Ratio | None) -> str:
    return "" if found is None else f"{found.median:.2f}x [{found.low:.2f}, {found.high:.2f}]"


def remarks(results: RunResults) -> list[str]:
    """What the rows leave open: matrices that stay in fp32, and rows that there are none of."""
    said = [
        f"{row.model} {row.precision}: {row.in_fp32} of {row.matrices} matrices stay in fp32; see its certificate.json"
        for row in results.rows
        if row.in_fp32
    ]
    meant = "Difference and speed: against dense fp32, and in its precision against the dense model in the same one."
    return [meant, *said, *(f"no row {name}: {why}" for name, why in results.refused.items())]


def precision_table(results: RunResults) -> Table:
    """The table for a terminal."""
    table = Table(*head(results), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for line in lines(results):
        table.add_row(*line)
    return table
