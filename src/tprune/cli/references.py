"""Sides of a benchmark that are checkpoints, run by PyTorch."""

from __future__ import annotations

from pathlib import Path

from tprune.cli.console import told
from tprune.run.lookup import check_dense, is_run, model_at
from tprune.runtimes.artefact import layout_file
from tprune.runtimes.reference.engine import TorchReference
from tprune.runtimes.reference.folder import stand_in
from tprune.support.errors import OptionError


def reference_sides(
    model: str, other: str | None, dense: bool, runtime: TorchReference, work: Path
) -> tuple[tuple[Path, Path], tuple[str, str]]:
    """Two folders to time, and what to call them; exported folders stay what they are.

    Args:
        model: a checkpoint, a run or an exported folder.
        other: the second one; None for a run, whose dense and pruned model are timed.
        dense: take the dense model of a run.
        runtime: that runs checkpoints.
        work: for folders that stand for checkpoints.

    Raises:
        OptionError: both are exported folders.
        InputError: a name that stands for no model, or one that the reference cannot run.
    """
    check_dense(filter(None, (model, other)), dense)
    if other is None:
        both = (model_at(model, dense=True), model_at(model))
        names = (f"dense, {runtime.name}", f"pruned, {runtime.name}")
        return (stand_in(both[0], work / "dense", runtime), stand_in(both[1], work / "pruned", runtime)), names
    if all(not is_run(name) and layout_file(Path(name)) is not None for name in (model, other)):
        raise OptionError(
            f"--runtime {runtime.name}: {model} and {other} are exported folders, which keep their runtime; expected a "
            "checkpoint among them, or no --runtime"
        )
    found, called = [], []
    for number, name in enumerate((model, other), start=1):
        if not is_run(name) and layout_file(Path(name)) is not None:
            found.append(Path(name))
            called.append(name)
        else:
            of_run = dense and is_run(name)
            where = told(name, model_at(name, of_run), of_run)
            found.append(stand_in(where, work / f"model{number}", runtime))
            called.append(f"{where}, {runtime.name}")
    return (found[0], found[1]), (called[0], called[1])
