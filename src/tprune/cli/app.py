"""The command line: its verbs, and how they end."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from tprune import __version__
from tprune.cli.groups import GroupedCommand
from tprune.cli.shared import shared
from tprune.cli.verbs.analyze import analyze
from tprune.cli.verbs.bench import bench
from tprune.cli.verbs.bundle import bundle
from tprune.cli.verbs.cut import cut
from tprune.cli.verbs.demo import demo
from tprune.cli.verbs.evaluate import evaluate
from tprune.cli.verbs.export import export
from tprune.cli.verbs.inspect import inspect
from tprune.cli.verbs.prune import prune
from tprune.cli.verbs.report import report
from tprune.cli.verbs.run import run
from tprune.cli.verbs.runtimes import runtimes
from tprune.cli.verbs.translate import translate
from tprune.support.errors import ENDS, USAGE, OptionError, TpruneError, TpruneWarning, printable
from tprune.support.launcher import seat

app = typer.Typer(add_completion=True, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
IN_SHORT: dict[Callable[..., None], str] = {
    demo: "Train, prune and measure a small model.",
    inspect: "Show what can be cut of a model.",
    prune: "Make a trained model smaller.",
    cut: "Cut a checkpoint file by file, without data.",
    evaluate: "Score a model, with an interval.",
    bench: "Time two exported models side by side.",
    report: "Draw the page of a run, or compare runs.",
    run: "Run all stages of a recipe.",
    analyze: "Find what gives way in a model.",
    export: "Export a model for a runtime, checked.",
    bundle: "Make a folder that an app ships.",
    translate: "Translate standard input.",
    runtimes: "List what can run a model.",
}
VERBS = {verb.__name__: verb for verb in IN_SHORT}
EXAMPLE = "tprune prune MODEL --speedup 2 --out runs/fast --train a.csv --valid b.csv"
for _name, _verb in VERBS.items():
    app.command(_name, cls=GroupedCommand, short_help=IN_SHORT[_verb])(shared(_verb))


def _version(asked: bool) -> None:
    if asked:
        print(f"tprune {__version__}")
        raise typer.Exit


@app.callback(epilog=f"For example: {EXAMPLE}   (--dry-run forecasts the result)")
def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Make trained models smaller and faster on CPUs, with every claim measured. Begin with: tprune demo"""


def main() -> None:
    """Entry point: one clear line for what the user can mend, exit 1; usage errors exit 2, Ctrl-C 130."""
    _quieten()
    try:
        _run(lambda: app(joined(sys.argv[1:])))
    except ENDS:
        raise
    except BaseException as error:  # libraries in Rust end in panics, which are no Exceptions
        if os.environ.get("TPRUNE_DEBUG") and not isinstance(error, TpruneError):
            raise
        print(printable(f"tprune: {explained(error)}"), file=sys.stderr)
        sys.exit(USAGE if isinstance(error, OptionError) else 1)


def _run(command: Callable[[], None]) -> None:
    """Does the command; where a launcher started several processes for it, the first does, and the others help."""
    mine = seat()
    if mine is None:
        command()
        return
    from tprune.train.team import as_team  # here, because it takes a moment

    as_team(mine, command)


def joined(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the numbers after `--speedup` as one value with commas between them.

    Example:
        >>> joined(["prune", "m", "--speedup", "1.5", "2", "--dry-run"])
        ['prune', 'm', '--speedup', '1.5,2', '--dry-run']
    """
    found: list[str] = []
    several = False
    for argument in arguments:
        number = argument.replace(".", "", 1).isdigit()
        if several and number and found[-1] != "--speedup":
            found[-1] += f",{argument}"
        else:
            found.append(argument)
            several = argument == "--speedup" or (several and number)
    return found


def explained(error: BaseException) -> str:
    """An error in one line.

    Libraries wrap what the system says in errors of their own, so a full disk is known by its words.
    """
    said = " ".join(str(error).split())[:300]
    if os.strerror(errno.ENOSPC) in said:
        return (
            f"{said}: the disk is full; nothing that was finished is lost, and the same command goes on once there is "
            "room"
        )
    if isinstance(error, (TpruneError, OSError)):
        return str(error)
    return f"unexpected {type(error).__name__}: {said} (--debug shows where)"


def _quieten() -> None:
    """Third parties' warnings and bars are not the user's; their errors still come through as ours."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # its retries
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # how long a thread waits busily for the others: where another process takes a core, all would wait on each other
    # most of the time
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    warnings.filterwarnings("ignore")
    warnings.filterwarnings("default", category=TpruneWarning)
    warnings.showwarning = _warn
    for name in ("", "torch.utils._pytree"):  # torch's own level is another; it warns of torchao, where that is there
        logging.getLogger(name).setLevel(logging.ERROR)
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # whatever the locale says, sentences are UTF-8; names of files may be any bytes
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """Our own warnings, as one line; others are filtered out."""
    print(printable(f"tprune: warning: {' '.join(str(message).split())}"), file=sys.stderr)


if __name__ == "__main__":
    main()
