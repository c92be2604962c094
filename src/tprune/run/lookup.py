"""What a name means: a model's folder, a hub id, an exported folder or a run.

A run stands for its pruned model, with `dense` for the dense one.

Every verb, and `tprune.load`, asks here. Nothing heavy is imported, so that a wrong name is refused at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tprune.core.precision import Precision
from tprune.realise.model_files import CONFIG, EXPORTED, existing, model_folder
from tprune.run.outputs import markers
from tprune.run.stage import models, names, planned
from tprune.runtimes.artefact import layout_file
from tprune.support.errors import InputError
from tprune.support.files import read_json


def is_run(name: str | Path) -> bool:
    """Whether a name is that of a run's folder."""
    return (Path(name) / "run.json").is_file() and not (Path(name) / CONFIG).exists()


def model_at(name: str | Path, dense: bool = False) -> str:
    """The model's folder or hub id that a name means; of a run its pruned model, or with `dense` its dense one.

    Raises:
        InputError: no such folder, one without a model, a run that has no such model yet, or `dense` for what is no
            run.
    """
    return model_folder(folder_at(name, dense))


def folder_at(name: str | Path, dense: bool = False) -> str:
    """As `model_at`; a folder that is no run may hold anything, a tokeniser alone for example."""
    if not isinstance(name, str | Path):
        return existing(name)
    check_dense([name], dense)
    path = Path(name)
    if is_run(path):
        return str(_of_run(path, _side(dense), (CONFIG,)))
    return existing(name)


def exported_at(name: str | Path, dense: bool = False, precision: str | None = None) -> Path:
    """The exported folder that a name means: itself, or that of a run's pruned or dense model.

    Args:
        name: as typed.
        dense: the dense model of a run.
        precision: of the run's export; fp32 if not given. An exported folder has one already.

    Raises:
        InputError: nothing is exported there; says how to export it.
    """
    check_dense([name], dense)
    path = Path(name)
    if is_run(path):
        folder = path / "onnx" / f"{_side(dense)}{_suffix(precision)}"
        plain = path / "onnx" / _side(dense)
        if precision is not None and layout_file(folder) is None and layout_file(plain) is not None:
            raise InputError(
                f"{name}: the run has not exported its {_side(dense)} model in {precision}; `tprune export {name}"
                f"{' --dense' * dense} --precision {precision} --out FOLDER` does"
            )
        return _of_run(path, f"onnx/{folder.name}", EXPORTED)
    if precision is not None and layout_file(path) is not None:
        raise InputError(f"{name}: an exported folder, which has a precision already; leave out --precision")
    if (path / CONFIG).is_file() and layout_file(path) is None:
        raise InputError(
            f"{name}: a model that is not exported; `tprune export {name} --out FOLDER` makes a folder that runs"
        )
    return path


def runnable_at(name: str | Path, dense: bool = False, precision: str | None = None) -> str:
    """What a name offers to translate with: an exported folder where there is one, otherwise the model to export.

    Args: see `exported_at`.

    Raises:
        InputError: as `model_at`, or as `exported_at` for a precision.
    """
    path = Path(name)
    if is_run(path) and layout_file(path / "onnx" / _side(dense)) is not None:
        return str(exported_at(path, dense, precision))
    if layout_file(path) is not None and precision is None:
        check_dense([name], dense)
        return str(name)
    if layout_file(path) is not None:
        return str(exported_at(path, dense, precision))  # refused: it has a precision already
    return model_at(name, dense)


def check_dense(names: Iterable[str | Path], dense: bool) -> None:
    """Raises `InputError` where a dense model is asked for and no name is that of a run."""
    named = list(map(str, names))
    if dense and not any(map(is_run, named)):
        raise InputError(
            f"--dense (dense=True) {' '.join(named)}: no run; only a run has a dense model beside its pruned one"
        )


def check_finished(run: Path) -> None:
    """Raises `InputError` where a folder is no run, or one without results; says what it lacks."""
    if not (run / "run.json").is_file():
        raise InputError(f"{run}: no run; expected a directory that `tprune run`, `prune` or `demo` wrote")
    if not (run / "results.json").is_file():
        raise InputError(f"{run}: this run has no results yet; {_state(run)}")


def _suffix(precision: str | None) -> str:
    return "" if precision is None else Precision(precision).suffix


def _side(dense: bool) -> str:
    return "dense" if dense else "pruned"


def _of_run(run: Path, what: str, known_by: Sequence[str]) -> Path:
    if any((run / what / name).is_file() for name in known_by):
        return run / what
    side, exported = what.rpartition("/")[2], "/" in what  # in precisions that are not exact, no name of a model
    found = [name for name in models() if (run / name / CONFIG).is_file()]
    instead = f"name one of its models ({', '.join(str(run / name) for name in found)})" if found else ""
    if exported and side in found:
        instead = f"export it: tprune export {run}{' --dense' if side == 'dense' else ''} --out FOLDER"
    lacks = f"has exported no {side} model yet" if exported else f"has no {side} model yet"
    raise InputError(
        f"{run}: this run {lacks}; {_state(run)}; give its command again to finish it{instead and ', or ' + instead}"
    )


def _state(run: Path) -> str:
    """Which stages of a run are done, and which are to come."""
    from tprune.recipe.reader import check_recipe  # here, because it takes a moment
    from tprune.recipe.renamed import current

    done = [stage for stage in names() if markers(run).done(stage)]
    try:
        made_for = read_json(run / "run.json")
        stages = planned(
            check_recipe(current(made_for["recipe"])), "vocabulary" in made_for["corpus"], made_for["plan"] is not None
        )
    except (InputError, KeyError, TypeError):  # of another version, or damaged: what is done can still be said
        stages = names()
    missing = markers(run).missing(stages)
    said = f"its last finished stage is {done[-1]}" if done else "no stage of it is finished"
    return f"{said}, missing are {', '.join(missing)}" if missing else said
