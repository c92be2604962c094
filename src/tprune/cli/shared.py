"""Options that every verb has, and what they do before it starts."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from typing import Annotated, Any, ClassVar

import typer

from tprune.cli.console import say, typed
from tprune.cli.groups import expanded, options_of
from tprune.run.log import warned
from tprune.support.errors import InputError
from tprune.support.plugins import import_plugins, trusting


@dataclass(frozen=True)
class Common:
    """What every verb can be told."""

    PANEL: ClassVar[str] = "Common"
    offline: Annotated[bool, typer.Option("--offline", help="Never connect to the Hugging Face hub.")] = False
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin",
            help="Module or .py file to import first, for the architectures, families, tasks, methods and runtimes "
            "that it enters; repeat for several.",
        ),
    ] = None
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run the code that comes with a model; read that code first."),
    ] = False
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")] = False


def shared(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb as typer reads it, with the options of all verbs beside its own."""
    flat = expanded(verb)
    own = inspect.signature(flat)

    @wraps(flat)
    def prepared(**given: Any) -> None:
        common = Common(**{field.name: given.pop(field.name) for field in fields(Common)})
        try:
            prepare(common.offline, common.plugin or (), common.debug)
            if given.get("runtime") is not None:
                check_runtime(given["runtime"])
            with trusting(common.trust_remote_code), warned(say):
                flat(**given)
        except SystemExit as left:  # no verb does; code of a model or plugin may
            raise InputError(
                f"code of a model or a plugin ended the program (exit {left.code!r}) before {verb.__name__} was done"
            ) from None
        except KeyboardInterrupt:
            again = f"; to go on: {typed()}" if "force" in given else ""  # a run, then
            say(f"interrupted{again}")
            raise typer.Exit(130) from None

    signature = own.replace(parameters=[*own.parameters.values(), *options_of(Common)])
    prepared.__signature__ = signature  # type: ignore[attr-defined]  # read by Typer
    prepared.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
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
