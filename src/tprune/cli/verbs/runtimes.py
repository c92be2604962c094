"""`tprune runtimes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tprune.cli.console import say, show
from tprune.cli.options.checks import named
from tprune.cli.options.choices import Precisions
from tprune.cli.options.single import AsJson, BenchThreads, Runtime


def runtimes(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="With --record: exported folders, or folders that hold some."),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            parser=named,
            metavar="<path>",
            help="Add what the certificates of the exported folders say to this file.",
        ),
    ] = None,
    tune_multiples: Annotated[
        bool,
        typer.Option(
            "--tune-multiples",
            "--tune-rounding",
            help="Time small graphs of many sizes in turns, and keep the multiples that the runtime likes here.",
        ),
    ] = False,
    every: Annotated[
        bool,
        typer.Option(
            "--all",
            help="List which features of models each runtime has, not the overview (--runtime: of one runtime).",
        ),
    ] = False,
    runtime: Runtime = None,
    precision: Annotated[
        Precisions | None,
        typer.Option("--precision", help="With --tune-multiples: precision of the graphs (default: fp32)."),
    ] = None,
    threads: BenchThreads = 1,
    as_json: AsJson = False,
) -> None:
    """List what can run a pruned model, what of it is installed here, how to get the rest, and what is certified."""
    if record is not None and tune_multiples:
        raise typer.BadParameter("--record and --tune-multiples are two things; leave one out")
    if (folders is None) != (record is None):
        given = "--record FILE needs exported folders" if record else "folders are for --record FILE"
        raise typer.BadParameter(f"{given}; give both or neither")
    if not tune_multiples and precision:
        raise typer.BadParameter("--precision is for --tune-multiples; leave it out")
    if (record or tune_multiples) and (slip := "--all" if every else "--runtime" if record and runtime else ""):
        raise typer.BadParameter(f"{slip} is for the list of runtimes; leave it out")
    if record is not None:
        _record(record, folders or [], as_json)
    elif tune_multiples:
        _tune(runtime or "onnxruntime", precision.value if precision else "fp32", threads, as_json)
    else:
        _list(runtime, every, as_json)


def _list(name: str | None, every: bool, as_json: bool) -> None:
    """All runtimes in short, or the features of all, or those of one."""
    from tprune.report.runtime_features import as_data
    from tprune.report.verb_tables import runtime_features_table, runtimes_table
    from tprune.runtimes.certified import read_record
    from tprune.runtimes.matrix import features, matrix
    from tprune.runtimes.runtime import runtimes as known
    from tprune.support.machine import version_of

    asked = [one for one in known() if name in (None, one.name)]
    rows = [row for row in matrix() if name in (None, row["name"])]
    lines = as_data(features(asked, read_record(), version_of))
    table = runtime_features_table if every or name else runtimes_table
    show({"runtimes": rows, "features": lines}, as_json, table)


def _record(file: Path, folders: list[Path], as_json: bool) -> None:
    from tprune.report.runtime_features import record_text
    from tprune.runtimes.certified import recorded

    found = recorded(file, folders, say)
    show({"record": str(file), "certified": found}, as_json, record_text)


def _tune(name: str, precision: str, threads: int, as_json: bool) -> None:
    from tprune.core.precision import Precision
    from tprune.costs.multiples.tune import tune
    from tprune.report.multiples_table import multiples_text

    found = tune(name, Precision(precision), threads, say)
    show(found, as_json, multiples_text)
