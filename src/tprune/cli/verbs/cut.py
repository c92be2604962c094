"""`tprune cut`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tprune.cli.console import chosen, show
from tprune.cli.options.checks import named, one_target
from tprune.cli.options.choices import Kinds
from tprune.cli.options.single import AsJson, Checkpoint, Dense
from tprune.cli.options.sizes import BytesAsked, MacsAsked, ParamsAsked


def cut(
    model: Checkpoint,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            parser=named,
            metavar="<path>",
            help="Folder of the smaller checkpoint; an older model there is replaced once all is written.",
        ),
    ],
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            exists=True,
            dir_okay=False,
            help="A selected plan (plan.json) to follow (default: the groups with the largest norms stay).",
        ),
    ] = None,
    params: ParamsAsked = None,
    size: BytesAsked = None,
    macs: MacsAsked = None,
    kinds: Annotated[
        list[Kinds] | None,
        typer.Option("--kind", help="Kind of couplings that may be cut; repeat for several (default: ffn and heads)."),
    ] = None,
    dense: Dense = False,
    as_json: AsJson = False,
) -> None:
    """Cut a checkpoint file by file, by a plan or by norms: no data, no training, and never the whole model in memory.

    For checkpoints too large to load. Where a model fits into memory, `tprune prune --one-shot` loses less.
    """
    asked = {"params": params, "bytes": size, "macs": macs}
    one_target(plan, True, **asked)
    if plan is not None and kinds:
        raise typer.BadParameter("--plan says what is cut; leave out --kind")
    where = chosen(model, dense)
    from tprune.cli.cut import cut_to
    from tprune.report.verb_tables import cut_table

    words = [str(kind) for kind in kinds or ("ffn", "heads")]
    show(
        cut_to(Path(where), out, plan, {unit: value for unit, value in asked.items() if value}, words),
        as_json,
        cut_table,
    )
