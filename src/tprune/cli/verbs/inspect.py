"""`tprune inspect`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Annotated

import typer

from tprune.cli.console import chosen, say, show
from tprune.cli.options.single import AsJson, Checkpoint, Dense
from tprune.core.kinds import KINDS
from tprune.support.plugins import NAMES


def inspect(
    model: Checkpoint,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            help="Kind of couplings to show; repeat for several (default: all but the lines of single matrices).",
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Check the table of the model's family: perturb every coupling, cut at random, and compare outputs.",
        ),
    ] = False,
    dense: Dense = False,
    as_json: AsJson = False,
) -> None:
    """Show what can be cut of a model: its couplings with their patterns, and its size."""
    check_kinds(kinds or ())
    where = chosen(model, dense)
    from tprune.cli.inspect import checked, inspected, opened
    from tprune.report.verb_tables import inspect_table

    loaded = opened(where)
    found = inspected(loaded, kinds)
    if check:
        found["checked"] = checked(loaded, found["couplings"], say)
    show(found, as_json, inspect_table)


def check_kinds(kinds: Sequence[str]) -> None:
    """Raises `typer.BadParameter` for a kind of couplings that nothing here has.

    Families of plugins may have others.
    """
    plugged = os.environ.get(NAMES) or entry_points(group="tprune.families")
    if not plugged and (unknown := [kind for kind in kinds if kind not in KINDS]):
        raise typer.BadParameter(f"--kind {unknown[0]}: expected one of {', '.join(KINDS)}")
