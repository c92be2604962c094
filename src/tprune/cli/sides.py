"""Which models a verb that compares means."""

from __future__ import annotations

from pathlib import Path

from tprune.cli.console import told
from tprune.run.lookup import check_dense, exported_at, is_run, runnable_at

RunsIn = tuple[str | None, str | None]  # runtime and precision, as far as they are given


def sides_of(model: str, against: str | None, dense: bool, precision: str | None = None) -> tuple[str, str | None]:
    """The model that is scored, and the one that it is compared with; of a run alone, its pruned and its dense model.

    `precision` is that of the model that is scored, and of a run's dense model beside it.

    Raises:
        InputError: a name that stands for no model.
    """
    check_dense(filter(None, (model, against)), dense)
    side = {name: dense and is_run(name) for name in (model, against) if name}
    other = against
    if against is not None:
        other = told(against, runnable_at(against, side[against]), side[against])
    elif is_run(model) and not dense:
        other = runnable_at(model, dense=True, precision=precision)
    return told(model, runnable_at(model, side[model], precision), side[model]), other


def exported_sides(
    model: str, other: str | None, dense: bool, precision: str | None = None
) -> tuple[tuple[Path, Path], tuple[str, str]]:
    """Two exported folders, and what to call them: those of a run, in a precision, or two that are named.

    Raises:
        InputError: a name that stands for no exported model.
    """
    check_dense(filter(None, (model, other)), dense)
    if other is None:
        of = "" if precision is None else f" {precision}"
        both = exported_at(model, dense=True, precision=precision), exported_at(model, precision=precision)
        return both, (f"dense{of}", f"pruned{of}")
    named = [exported_at(name, dense and is_run(name), precision) for name in (model, other)]
    first, second = (Path(told(name, str(at), dense)) for name, at in zip((model, other), named, strict=True))
    return (first, second), (str(first), str(second))
