"""What options check by themselves; each raises `typer.BadParameter` before anything heavy is imported."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import typer

from tprune.core.units import LEAST_SIZE
from tprune.run.stage import names as stage_names
from tprune.support.errors import InputError


def size_asked(value: float | None) -> float | None:
    """A fraction or a number. Raises `typer.BadParameter`."""
    if value is None or 0 < value <= 1 or LEAST_SIZE <= value < math.inf:
        return value
    raise typer.BadParameter(
        f"got {value:g}; expected a fraction of the dense model in (0, 1], or a number of at least {LEAST_SIZE}"
    )


def above(least: float, what: str) -> Callable[[float | None], float | None]:
    """A check that a number is larger than `least`."""

    def check(value: float | None) -> float | None:
        if value is None or least < value < math.inf:
            return value
        raise typer.BadParameter(f"got {value:g}; expected {what} above {least:g}")

    return check


def at_least_0(value: float | None) -> float | None:
    """A loss that may be added. Raises `typer.BadParameter`."""
    if value is None or 0 <= value < math.inf:
        return value
    raise typer.BadParameter(f"got {value:g}; expected at least 0 nats")


def numbers(value: str | None) -> tuple[float, ...]:
    """The numbers of a text that has commas between them, each once."""
    return tuple(dict.fromkeys(float(part) for part in value.split(","))) if value is not None else ()


def speeds(value: str | None) -> str | None:
    """One or several numbers above 1, with commas between them. Raises `typer.BadParameter`."""
    try:
        found = numbers(value)
    except ValueError:
        raise typer.BadParameter(f"got {value!r}; expected a number, or several with commas, such as 1.5,2,3") from None
    for speed in found:
        above(1, "how many times faster,")(speed)
    return value


def trimming(value: str | None) -> str | None:
    """`train` or two files. Raises `typer.BadParameter`."""
    if value is None or value == "train" or value.count(",") == 1:
        return value
    raise typer.BadParameter(f"got {value!r}; expected `train`, or two files, SOURCE,TRANSLATIONS")


def reference_name(value: str | None) -> str | None:
    """A runtime that runs checkpoints. Raises `typer.BadParameter` listing them."""
    from tprune.runtimes.runtime import REFERENCE_NAMES  # here, because numpy takes a moment

    if value is None or value in REFERENCE_NAMES:
        return value
    known = " or ".join(REFERENCE_NAMES)
    raise typer.BadParameter(f"got {value!r}; expected {known}, for checkpoints: an exported folder has its runtime")


def stage_named(value: str | None) -> str | None:
    """A stage that some run has. Raises `typer.BadParameter` listing them."""
    if value is None or value in stage_names():
        return value
    raise typer.BadParameter(f"got {value!r}; expected one of {', '.join(stage_names())}")


def not_empty(value: str | None) -> str | None:
    """A name or path; an unset variable in a script gives an empty one. Raises `typer.BadParameter`."""
    if value is not None and not value.strip():
        raise typer.BadParameter("got nothing; expected a name or path")
    return value


def named(value: str | Path) -> Path:
    """A file or folder; an unset variable in a script would make it the working directory.

    Raises `typer.BadParameter`.
    """
    if not str(value).strip():
        raise typer.BadParameter("got nothing; expected a path")
    return Path(value)


def pairs(value: list[str] | None) -> list[str] | None:
    """What `--set` may be. Raises `typer.BadParameter`."""
    from tprune.recipe.changes import settings  # here, because it takes a moment

    try:
        settings(value or ())
    except InputError as error:
        raise typer.BadParameter(str(error)) from None
    return value


def bleu_tokenizer(value: str | None) -> str | None:
    """A tokeniser of sacreBLEU's. Raises `typer.BadParameter`."""
    if value is None:
        return None
    from tprune.tasks.metrics.bleu_tokenizer import check_name  # here, because sacrebleu takes a moment

    try:
        check_name(value)
    except InputError as error:
        raise typer.BadParameter(str(error)) from None
    return value


def column_names(value: str | None) -> str | None:
    """One or several names with commas between them. Raises `typer.BadParameter`."""
    if value is None or all(name.strip() for name in value.split(",")):
        return value
    raise typer.BadParameter(f"got {value!r}; expected names of columns with commas between them, such as text,label")


def task_named(value: str | None) -> str | None:
    """A known task. Raises `typer.BadParameter` listing them."""
    from tprune.core.known_tasks import TASKS

    if value is None or value in TASKS:
        return value
    raise typer.BadParameter(f"got {value!r}; expected one of {', '.join(TASKS)}")


def renamed(new: str) -> Callable[[str | None], str | None]:
    """A check of an option that has another name now: it is always refused."""

    def check(value: str | None) -> str | None:
        if value is not None:
            raise typer.BadParameter(f"was renamed; use {new} {value}")
        return value

    return check


def even(value: int) -> int:
    """An even number. Raises `typer.BadParameter`."""
    if value % 2:
        raise typer.BadParameter(f"got {value}; expected an even number")
    return value


def one_target(plan: Path | None, needed: bool, **asked: float | None) -> None:
    """At most one target; none beside a plan, which has its own; one where nothing else says it.

    Raises `typer.BadParameter`.
    """
    given = [f"--{name.replace('_', '-')} {value:g}" for name, value in asked.items() if value is not None]
    if plan is not None and given:
        raise typer.BadParameter(f"--plan says what is kept; leave out {' and '.join(given)}")
    if len(given) > 1:
        raise typer.BadParameter(f"give one target, got {' and '.join(given)}")
    if needed and plan is None and not given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in asked)
        raise typer.BadParameter(f"what should it become? give one of {names}, or a --plan")
