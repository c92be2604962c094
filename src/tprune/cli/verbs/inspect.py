"""`tprune inspect`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from tprune.cli.console import chosen, say, show
from tprune.cli.options.checks import named
from tprune.cli.options.single import AsJson, Checkpoint, Dense
from tprune.core.kinds import KINDS
from tprune.support.plugins import NAMES

KindsShown = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        help="Kind of couplings to show; repeat for several (default: all but the lines of single matrices).",
    ),
]
Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Check the table of the model's family: perturb every coupling, cut at random, and compare outputs.",
    ),
]
Propose = Annotated[
    bool,
    typer.Option(
        "--propose",
        help="Write a first table for an architecture that no family here knows: trace a small copy with random "
        "weights, verify what can be cut, and write what holds as a Python file for --plugin.",
    ),
]
ProposedFile = Annotated[
    Path | None,
    typer.Option(
        "--out",
        parser=named,
        metavar="<path>",
        help="New Python file that --propose writes (default: named after the model's type).",
    ),
]


def inspect(
    model: Checkpoint,
    kinds: KindsShown = None,
    check: Check = False,
    propose: Propose = False,
    out: ProposedFile = None,
    dense: Dense = False,
    as_json: AsJson = False,
) -> None:
    """Show what can be cut of a model: its couplings with their patterns, and its size."""
    check_kinds(kinds or ())
    if propose and (kinds or check):
        raise typer.BadParameter("--propose writes a table and shows none; leave out --kind and --check")
    if out and not propose:
        raise typer.BadParameter("--out is the file that --propose writes; add --propose")
    where = chosen(model, dense)
    if propose:
        from tprune.cli.propose import proposed, proposed_text

        show(proposed(where, out, say), as_json, proposed_text)
        return
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
