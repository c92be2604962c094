"""`tprune report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tprune.cli.console import show
from tprune.cli.options.checks import named
from tprune.cli.options.choices import Precisions
from tprune.cli.options.single import AsJson
from tprune.support.errors import printable


def report(
    runs: Annotated[list[Path], typer.Argument(help="Finished runs; several runs are compared.", metavar="RUN...")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            parser=named,
            metavar="<path>",
            help="File for the page that compares several runs (default: comparison.html).",
        ),
    ] = None,
    precision: Annotated[
        Precisions | None,
        typer.Option("--precision", help="Precision of the rows that are shown of one run (default: all)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the page of a run anew, or compare several runs: quality against speed."""
    from tprune.run.lookup import check_finished

    if len(runs) == 1 and out is not None:
        raise typer.BadParameter("--out is for several runs; the page of one lies in it")
    if len(runs) > 1 and precision is not None:
        raise typer.BadParameter("--precision is for the rows of one run; several are compared as they were measured")
    for run in runs:
        check_finished(run)
    page = (
        _one(runs[0], precision, as_json) if len(runs) == 1 else _several(runs, out or Path("comparison.html"), as_json)
    )
    if not as_json:
        print(printable(f"\n{page}"))


def _one(run: Path, precision: Precisions | None, as_json: bool) -> Path:
    from tprune.report.page import reading, write_report
    from tprune.report.precision_table import in_precision
    from tprune.report.results import finished
    from tprune.report.table import results_table

    results = finished(run)
    if precision is not None:
        results = in_precision(results, precision.value, run)
    with reading(run):
        page = write_report(run)
        show(results.to_dict(), as_json, lambda _: results_table(results))
    return page


def _several(runs: list[Path], out: Path, as_json: bool) -> Path:
    from tprune.report.comparison import compare, comparison_table, write_comparison

    found = compare(runs)
    page = write_comparison(found, out)
    show(found.as_dict(), as_json, lambda _: comparison_table(found))
    return page
