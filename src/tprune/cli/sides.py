"""Which models a verb that compares means."""

from __future__ import annotations

from pathlib import Path

from tprune.cli.console import told
from tprune.run.lookup import check_dense, exported_at, is_run, runnable_at


def sides_of(model: str, against: str | None, dense: bool) -> tuple[str, str | None]:
    """The model that is scored, and the one that it is compared with; of a run alone, its pruned and its dense model.

    Raises:
        InputError: a name that stands for no model.
    """
    check_dense(filter(None, (model, against)), dense)
    side = {name: dense and is_run(name) for name in (model, against) if name}
    other = against
    if against is not None:
        other = told(against, runnable_at(against, side[against]), side[against])
    elif is_run(model) and not dense:
        other = runnable_at(model, dense=True)
    return told(model, runnable_at(model, side[model]), side[model]), other


def exported_sides(model: str, other: str | None, dense: bool) -> tuple[tuple[Path, Path], tuple[str, str]]:
    """Two exported folders, and what to call them: those of a run, or two that are named.

    Raises:
        InputError: a name that stands for no exported model.
    """
    check_dense(filter(None, (model, other)), dense)
    if other is None:
        return (exported_at(model, dense=True), exported_at(model)), ("dense", "pruned")
    first, second = (Path(told(name, str(exported_at(name, dense and is_run(name))), dense)) for name in (model, other))
    return (first, second), (str(first), str(second))
