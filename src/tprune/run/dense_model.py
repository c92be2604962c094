"""The model that a run prunes: trained or copied, and checked before all else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from tprune.core.known_tasks import task_of
from tprune.realise.checkpoint import save
from tprune.run.folder import Run
from tprune.run.preparation import preparation_of, some_of
from tprune.run.translation import TRAINED
from tprune.run.work import tokenizer_of
from tprune.runtimes.export import check_exportable
from tprune.runtimes.runtime import runtime_named
from tprune.support.errors import InputError
from tprune.train.training_data import TrainingData


def with_task(run: Run) -> Run:
    """The run with its task by name: the recipe's, else the one that its model is made for.

    Raises `InputError` for none.
    """
    if run.recipe.task is not None:
        return run
    if run.model is None:
        name = TRAINED
    else:  # what its vocabulary is trimmed to may not be there yet
        name = made_for(run.load(run.out / "dense" if run.has("train") else run.model), run.model)
    return replace(run, recipe=run.recipe.model_copy(update={"task": name}))


def made_for(model: Any, where: str, task: str | None = None) -> str:
    """The name of the task that a model is made for. Raises `InputError` for none, or for another than `task`."""
    try:
        return task_of(model, task).name
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def make_dense(run: Run) -> dict[str, Any]:
    """Stage `train`: the dense model, trained here or copied from where it was given."""
    if run.model is not None:
        return _copied(run, run.model)
    from tprune.run.translation.dense_model import trained

    return trained(run)


def _copied(run: Run, name: str) -> dict[str, Any]:
    model = run.load(name, torch.float32)
    made_for(model, name, run.task.name)
    processor = run.processor(name)
    if broken := [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]:
        raise InputError(f"{name}: {broken[0]} holds values that are not finite; expected a trained model")
    exportable(run, model, processor)
    save(model, run.out / "dense", processor)
    return {"from": name}


def fitted(run: Run, model: Any, processor: Any) -> tuple[Run, list[str]]:
    """The run on data that the model can take, and what became of the rest."""
    prepared = preparation_of(run.task)
    corpus, said = prepared.fitted(run.recipe.data, run.corpus, model, processor)
    prepared.check_data(run.recipe, corpus)
    return replace(run, corpus=corpus), said


def exportable(run: Run, model: Any, processor: Any) -> None:
    """What cannot be exported in the end is said before anything is measured or trained.

    Raises as `check_exportable`.
    """
    task, how = run.task, run.recipe.bench
    sentences = preparation_of(task).sentences(some_of(run.corpus.valid))
    check_exportable(model, tokenizer_of(processor), sentences, runtime_named(how.runtime), task, how.numbers)


def encoded(run: Run, model: Any, processor: Any) -> TrainingData:
    """The run's data, encoded for a model."""
    recipe, corpus = run.recipe, run.corpus
    callbacks = (run.progress,) if run.curves is None else (run.progress, run.curves)
    how: dict[str, Any] = {"seed": recipe.seed, "precision": recipe.train_precision, "callbacks": callbacks}
    return TrainingData.of(run.task, model, processor, corpus.train, corpus.valid, **how)
