"""Options that every verb has, and what they do before it starts."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from tprune.commands.console import say, typed
from tprune.errors import InputError

Offline = Annotated[bool, typer.Option("--offline", help="Never ask the hub.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin", help="Import this module first, for the methods and families it adds; repeat for several."
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an unexpected error comes from.")]
OPTIONS: dict[str, tuple[Any, Any]] = {"offline": (Offline, False), "plugin": (Plugins, None), "debug": (Debug, False)}


def shared(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with the options of all verbs beside its own."""
    own = inspect.signature(verb, eval_str=True)
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
        for name, (hint, default) in OPTIONS.items()
    ]

    @wraps(verb)
    def prepared(*, offline: bool, plugin: list[str] | None, debug: bool, **given: Any) -> None:
        try:
            prepare(offline, plugin or (), debug)
            verb(**given)
        except KeyboardInterrupt:
            again = f"; to go on: {typed()}" if "force" in given else ""  # a run, then
            say(f"interrupted{again}")
            raise typer.Exit(130) from None

    prepared.__signature__ = own.replace(parameters=[*own.parameters.values(), *extra])  # type: ignore[attr-defined]
    return prepared


def prepare(offline: bool, plugins: Sequence[str], debug: bool) -> None:
    """Puts the options to work. Raises `InputError` for a plugin that cannot be imported."""
    if offline:
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    if debug:
        os.environ["TPRUNE_DEBUG"] = "1"
    for name in plugins:
        if not all(part.isidentifier() for part in name.split(".")):
            raise InputError(f"--plugin {name}: expected the name of a module, as in an import, not a path")
        sys.path.insert(0, str(Path.cwd()))  # a module beside the data, as `python -m` would find it
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # whatever a stranger's module raises
            raise InputError(
                f"--plugin {name}: cannot be imported ({type(error).__name__}: {error}); expected an importable module"
            ) from error
        finally:
            sys.path.pop(0)
