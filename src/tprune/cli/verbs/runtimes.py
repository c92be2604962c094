"""`tprune runtimes`."""

from __future__ import annotations

from tprune.cli.console import show
from tprune.cli.options.single import AsJson


def runtimes(as_json: AsJson = False) -> None:
    """List what can run a pruned model, what of it is installed here, and how to get the rest."""
    from tprune.report.verb_tables import runtimes_table
    from tprune.runtimes.matrix import matrix

    show({"runtimes": matrix()}, as_json, runtimes_table)
