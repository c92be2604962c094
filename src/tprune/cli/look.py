"""The verbs that look at a model or a run: inspect, analyze, report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from tprune.cli.console import chosen, say, show, typed
from tprune.cli.options import (
    AsJson,
    Blocks,
    Checkpoint,
    Columns,
    DataSet,
    Dense,
    Device,
    Devices,
    LongLines,
    LongLinesHow,
    LongShare,
    Source,
    Translations,
    ValidSource,
    ValidTranslations,
    named,
)  # fmt: skip
from tprune.core.kinds import KINDS
from tprune.support.errors import printable
from tprune.support.plugins import NAMES


def inspect(
    model: Checkpoint,
    kinds: Annotated[list[str] | None, typer.Option("--kind", help="Show couplings of this kind alone; repeat for several (default: all but lines).")] = None,
    check: Annotated[bool, typer.Option("--check", help="Perturb every coupling: does anything else read what would be cut? And does cutting change nothing but size?")] = False,
    dense: Dense = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """What a model could lose: its couplings with their patterns, its size, and whether the table of its family is right."""
    check_kinds(kinds or ())
    where = chosen(model, dense)
    from tprune.cli.inspect import checked, inspected
    from tprune.realise.checkpoint import load, load_tokenizer
    from tprune.report.verb_tables import inspect_table
    from tprune.tasks.translation.encoding import check_translates

    loaded = load(where)
    check_translates(loaded, str(where))
    if (Path(where) / "tokenizer_config.json").exists():  # a look is for finding out whether the two belong together
        load_tokenizer(where)
    found = inspected(loaded, kinds)
    if check:
        found["checked"] = checked(loaded, found["couplings"], say)
    show(found, as_json, inspect_table)


def check_kinds(kinds: Sequence[str]) -> None:
    """Raises `typer.BadParameter` for a kind of couplings that nothing here has; families of plugins may have others."""
    plugged = os.environ.get(NAMES) or entry_points(group="tprune.families")
    if not plugged and (unknown := [kind for kind in kinds if kind not in KINDS]):
        raise typer.BadParameter(f"--kind {unknown[0]}: expected one of {', '.join(KINDS)}")


def analyze(
    model: Checkpoint,
    src: Source = None, tgt: Translations = None, valid_src: ValidSource = None, valid_tgt: ValidTranslations = None,
    data: DataSet = None, columns: Columns = None,
    steps: Annotated[int, typer.Option(min=1, help="Number of training steps, shared by all strengths.")] = 150,
    blocks: Annotated[Blocks, typer.Option(help="What a block is: whole matrices, or the slices of attention projections that belong to one head.")] = Blocks.MATRIX,
    long_lines: LongLines = None, long_share: LongShare = 0.01,
    device: Device = Devices.AUTO,
    out: Annotated[Path | None, typer.Option("--out", parser=named, metavar="<path>", help="Folder for analysis.json and analysis.html (default: write none).")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of batches and dropout.")] = 0,
    dense: Dense = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """What gives way in a trained model, axis by axis, and what to prune or leave alone; the model is not changed."""
    where = chosen(model, dense)
    from tprune.cli.sentences import Given, corpus_of
    from tprune.recipe.schema import Analyze, Data
    from tprune.support.machine import use_device

    text = corpus_of(Given((src, tgt), (valid_src, valid_tgt), data=data, columns=columns), Data(), ("train", "valid"))
    use_device(device)
    from tprune.cli import analyze as verb
    from tprune.report.analysis_table import analysis_table
    from tprune.support.reporting import Progress
    from tprune.tasks.translation.long_lines import OPTION
    from tprune.tasks.translation.long_lines import LongLines as Long

    progress = Progress({"analyze": 0.0})
    progress.stage("analyze", f"{steps} steps of group lasso on all lines")
    how = Analyze(steps=steps, blocks=blocks.value)
    found = verb.analyze(
        where,
        text.train,
        text.valid,
        how,
        out=out,
        seed=seed,
        command=typed(),
        callbacks=[progress],
        report=say,
        long_lines=Long((long_lines or LongLinesHow.SKIP).value, long_share, OPTION),
    )
    show(found.as_dict(), as_json, analysis_table)
    if out is not None and not as_json:
        print(printable(f"\n{out / 'analysis.json'}\n{out / 'analysis.html'}"))


def report(
    runs: Annotated[list[Path], typer.Argument(help="Finished runs; several are compared.", metavar="RUN...")],
    out: Annotated[Path | None, typer.Option("--out", parser=named, metavar="<path>", help="File for the page of several runs (default: comparison.html).")] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """The page of a run, drawn anew; of several runs a comparison, quality against speed."""
    from tprune.run.lookup import check_finished

    if len(runs) == 1 and out is not None:
        raise typer.BadParameter("--out is for several runs; the page of one lies in it")
    for run in runs:
        check_finished(run)
    from tprune.report.comparison import compare, comparison_table, write_comparison
    from tprune.report.page import reading, write_report
    from tprune.report.results import finished
    from tprune.report.table import results_table

    if len(runs) == 1:
        results = finished(runs[0])
        with reading(runs[0]):
            page = write_report(runs[0])
            show(results.to_json(), as_json, lambda _: results_table(results))
    else:
        found = compare(runs)
        page = write_comparison(found, out or Path("comparison.html"))
        show(found.as_dict(), as_json, lambda _: comparison_table(found))
    if not as_json:
        print(printable(f"\n{page}"))
