"""`tprune analyze`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tprune.cli.console import chosen, say, show, typed
from tprune.cli.given import task_name
from tprune.cli.options.checks import named
from tprune.cli.options.choices import Blocks, Devices, LongLinesHow
from tprune.cli.options.data import LongSentences, TrainingPairs, TrainingSets, given_data
from tprune.cli.options.single import AsJson, Checkpoint, Dense
from tprune.support.errors import printable


def analyze(
    model: Checkpoint,
    sets: TrainingSets,
    pairs: TrainingPairs,
    long: LongSentences,
    steps: Annotated[int, typer.Option(min=1, help="Number of training steps, shared by all strengths.")] = 150,
    blocks: Annotated[
        Blocks,
        typer.Option(
            help="Blocks of the analysis: whole matrices, or the slices of attention projections that belong to one "
            "head."
        ),
    ] = Blocks.MATRIX,
    device: Annotated[
        Devices, typer.Option("--device", help="Device to train on; auto takes the GPU if there is one.")
    ] = Devices.AUTO,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            parser=named,
            metavar="<path>",
            help="Folder for analysis.json and analysis.html (default: none is written).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of batches and dropout.")] = 0,
    dense: Dense = False,
    as_json: AsJson = False,
) -> None:
    """Find what gives way in a trained model, axis by axis, and advise what to prune; the model is not changed."""
    where = chosen(model, dense)
    given = given_data(sets, pairs)
    from tprune.cli.data_sets import splits_of
    from tprune.recipe.schema import Analyze, Data
    from tprune.support.devices import use_device

    task = task_name(given, where)
    data = splits_of(task, given, Data(), ("train", "valid"))
    use_device(device)
    from tprune.cli import analyze as verb
    from tprune.report.analysis_table import analysis_table
    from tprune.support.reporting import Progress
    from tprune.tasks.translation.long_lines import OPTION, LongLines

    progress = Progress({"analyze": 0.0})
    progress.stage("analyze", f"{steps} steps of group lasso on all lines")
    found = verb.analyze(
        task,
        where,
        data.train,
        data.valid,
        Analyze(steps=steps, blocks=blocks.value),
        out=out,
        seed=seed,
        command=typed(),
        callbacks=[progress],
        report=say,
        long_lines=LongLines((long.long_lines or LongLinesHow.SKIP).value, long.long_share, OPTION),
    )
    show(found.as_dict(), as_json, analysis_table)
    if out is not None and not as_json:
        print(printable(f"\n{out / 'analysis.json'}\n{out / 'analysis.html'}"))
