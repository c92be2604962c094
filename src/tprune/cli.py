"""The command line: its verbs, and how they end."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable

import typer

from tprune.commands import look, make, measure
from tprune.commands.shared import shared
from tprune.errors import TpruneError

app = typer.Typer(add_completion=True, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
VERBS: dict[str, Callable[..., None]] = {
    "demo": make.demo, "inspect": look.inspect, "prune": make.prune, "evaluate": measure.evaluate, "bench": measure.bench,
    "report": look.report, "run": make.run_recipe, "analyze": look.analyze, "export": measure.export,
    "translate": measure.translate, "runtimes": measure.runtimes,
}  # fmt: skip
for _name, _verb in VERBS.items():
    app.command(_name)(shared(_verb))


def main() -> None:
    """Entry point: one clear line for what the user can mend, exit 1; usage errors exit 2, Ctrl-C 130."""
    _quieten()
    try:
        app()
    except Exception as error:
        if os.environ.get("TPRUNE_DEBUG") and not isinstance(error, TpruneError):
            raise
        print(f"tprune: {explained(error)}", file=sys.stderr)
        sys.exit(1)


def explained(error: Exception) -> str:
    """An error in one line. Libraries wrap what the system says in errors of their own, so a full disk is known by its words."""
    said = " ".join(str(error).split())[:300]
    if os.strerror(errno.ENOSPC) in said:
        return f"{said}: the disk is full; nothing that was finished is lost, and the same command goes on once there is room"
    if isinstance(error, (TpruneError, OSError)):
        return str(error)
    return f"unexpected {type(error).__name__}: {said} (--debug shows where)"


def _quieten() -> None:
    """Third parties' warnings and bars are not the user's; their errors still come through as ours."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):  # whatever the locale says, sentences are UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")


if __name__ == "__main__":
    main()
