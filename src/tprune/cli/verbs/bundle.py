"""`tprune bundle`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tprune.cli.console import say, show
from tprune.cli.options.checks import named
from tprune.cli.options.single import AsJson, Dense, Exported, PrecisionOfRun


def bundle(
    exported: Exported,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            parser=named,
            metavar="<path>",
            help="Folder of the bundle; an older bundle there is replaced once the new one is checked.",
        ),
    ],
    sentences: Annotated[
        Path | None,
        typer.Option(
            "--sentences",
            parser=named,
            metavar="<path>",
            help="Sentences for the golden outputs, one a line (.gz too) (default: built-in English sentences).",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            parser=named,
            metavar="<path>",
            help="Folder of the model that was pruned, whose license (LICENSE, README.md) goes into the bundle.",
        ),
    ] = None,
    precision: PrecisionOfRun = None,
    dense: Dense = False,
    as_json: AsJson = False,
) -> None:
    """Make a folder that an app ships, with golden outputs that `python -m tprune_runtime check` replays on devices."""
    from tprune.data.parallel import read_lines
    from tprune.run.lookup import exported_at

    where = exported_at(exported, dense, precision and precision.value)
    texts = None if sentences is None else read_lines(sentences)
    from tprune.cli.bundle import bundle_to
    from tprune.report.verb_tables import bundle_table

    show(bundle_to(where, out, texts, model, say), as_json, bundle_table)
