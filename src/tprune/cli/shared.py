"""Options that every verb has, and what they do before it starts."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any

import typer

from tprune.cli.console import say, typed
from tprune.run.log import warned
from tprune.support.errors import InputError
from tprune.support.plugins import import_plugins, trusting

Offline = Annotated[bool, typer.Option("--offline", help="Never ask the hub.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        help="Import this module first, for the methods, families, tasks and runtimes it adds; repeat for several.",
    ),
]
Trust = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run the code that a model brings with it; read that code first.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an unexpected error comes from.")]
OPTIONS: dict[str, tuple[Any, Any]] = {
    "offline": (Offline, False), "plugin": (Plugins, None), "trust_remote_code": (Trust, False), "debug": (Debug, False),
}  # fmt: skip


def shared(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with the options of all verbs beside its own."""
    own = inspect.signature(verb, eval_str=True)
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
        for name, (hint, default) in OPTIONS.items()
    ]

    @wraps(verb)
    def prepared(
        *, offline: bool, plugin: list[str] | None, trust_remote_code: bool, debug: bool, **given: Any
    ) -> None:
        try:
            prepare(offline, plugin or (), debug)
            if given.get("runtime") is not None:
                check_runtime(given["runtime"])
            with trusting(trust_remote_code), warned(say):
                verb(**given)
        except SystemExit as left:  # no verb does; code of a model or plugin may
            raise InputError(
                f"code of a model or a plugin ended the program (exit {left.code!r}) before {verb.__name__} was done"
            ) from None
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
    import_plugins(plugins)


def check_runtime(name: str) -> None:
    """Whether there is such a runtime, plugins imported. Raises `typer.BadParameter`."""
    from tprune.runtimes.runtime import runtimes

    if name not in (known := [runtime.name for runtime in runtimes()]):
        raise typer.BadParameter(f"--runtime {name}: expected {' or '.join(known)}")
