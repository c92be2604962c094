"""Whether a task does what everything that asks it relies on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tprune.core.data import Data
from tprune.core.labels import IGNORED, label_loss
from tprune.core.score import Score
from tprune.core.task import Batch, Examples, HasStates, KeepsOutputs, Predictions, Task, missing_members
from tprune.tasks.one_pass import InOnePass
from tprune.tasks.scoring import compare, scores
from tprune.testing.common import require

CLOSE = 1e-4  # of losses and scores in single precision
OTHERS = 8  # other models, of which one at least must be scored otherwise


def check_task(task: Task, model: nn.Module, data: Data, processor: Any = None, pad: int = 0) -> None:
    """A task is consistent with itself: batches, loss, padding, predictions and scores.

    Args:
        task: to be checked.
        model: a small model of the task, with random weights; a copy is used in single precision, evaluating.
        data: a few raw items of unequal length (at least 4), of more than one class where there are classes.
        processor: what the task encodes them with.
        pad: an id that padding may have.

    Raises:
        AssertionError: something disagrees; says what.
    """
    missing = missing_members(task)
    require(not missing, f"{type(task).__name__} has no {', '.join(missing)}")
    where, model = f"task {task.name}", copy.deepcopy(model).float().eval()
    require(task.matches(model), f"{where}: does not match the {type(model).__name__}, which is to be for it")
    examples = task.encode(data, processor, model)
    require(len(examples) >= 4, f"{where}: {len(examples)} examples; give at least 4")
    require(len(examples.lengths) == len(examples), f"{where}: there are not as many lengths as examples")
    for name, batch in (("example", task.example(model)), ("random", task.random(model))):
        _check_batch(task, model, batch, f"{where}, {name}")
    _check_collate(task, model, examples, pad, where)
    _check_padding(task, model, examples, pad, where)
    _check_scores(task, model, (data, examples), processor, pad, where)


@torch.no_grad()
def _check_batch(task: Task, model: nn.Module, batch: Batch, where: str) -> None:
    """Logits and labels belong together, and the loss is theirs."""
    outputs, labels = task.run(model, batch, hidden=isinstance(task, HasStates)), task.labels(batch)
    logits = outputs.logits
    require(
        logits.shape[:-1] == labels.shape,
        f"{where}: logits {tuple(logits.shape)} do not belong to labels {tuple(labels.shape)}; the last axis is that "
        "of the classes",
    )
    counted = labels[labels != IGNORED]
    require(bool(counted.numel()), f"{where}: nothing is expected of any output")
    require(
        bool((counted >= 0).all() and (counted < logits.shape[-1]).all()),
        f"{where}: a label is none of the {logits.shape[-1]} classes",
    )
    _check_loss(task, logits, batch, where)
    if isinstance(task, HasStates):
        stacks, depth = task.states(outputs, batch), list(task.depth(model).values())
        require(
            [len(each.layers) for each in stacks] == depth, f"{where}: `depth` says {depth} layers, `states` others"
        )


def _check_loss(task: Task, logits: Tensor, batch: Batch, where: str) -> None:
    """It is the cross entropy of the labels; a distance to targets is 0 at these, and larger elsewhere."""
    if not isinstance(task, KeepsOutputs):
        off = abs(float(task.loss(logits, batch)) - float(label_loss(logits, task.labels(batch))))
        require(off < CLOSE, f"{where}: the loss is {off:.2g} off the mean cross entropy of its labels")
        return
    targets = task.targets(batch)
    require(
        targets.shape == logits.shape,
        f"{where}: targets {tuple(targets.shape)} do not belong to logits {tuple(logits.shape)}; expected equal shapes",
    )
    at, elsewhere = float(task.loss(targets, batch)), float(task.loss(targets + 1, batch))
    require(abs(at) < CLOSE < elsewhere, f"{where}: the loss is {at:.2g} at the targets, {elsewhere:.2g} elsewhere")


def _check_collate(task: Task, model: nn.Module, examples: Examples, pad: int, where: str) -> None:
    """No example is lost in a batch, and their order stays."""
    rows = [examples[i] for i in range(len(examples))]
    batch = task.collate(rows, pad)
    short = {name: len(value) for name, value in batch.items() if len(value) != len(rows)}
    require(not short, f"{where}: `collate` makes of {len(rows)} rows {short}")
    with torch.no_grad():
        together = [len(task.run(model, batch).logits), len(task.labels(batch))]
    require(
        together == [len(rows)] * 2,
        f"{where}: of {len(rows)} rows there are {together[0]} outputs, {together[1]} labels",
    )
    for index, row in enumerate(rows):
        alone, among = _expected(task, task.collate([row], pad), 0), _expected(task, batch, index)
        require(
            torch.equal(alone, among),
            f"{where}: labels of example {index + 1} in a batch are not those it has alone: padding counts, or rows "
            "are mixed up",
        )


def _expected(task: Task, batch: Batch, index: int) -> Tensor:
    if isinstance(task, KeepsOutputs):
        return task.targets(batch)[index]
    labels = task.labels(batch)[index]
    return labels[labels != IGNORED]


@torch.no_grad()
def _check_padding(task: Task, model: nn.Module, examples: Examples, pad: int, where: str) -> None:
    """The loss of a batch is that of its examples alone, whatever padding is filled with; so are its outputs."""
    rows = [examples[i] for i in range(len(examples))]
    total, count = 0.0, 0
    for row in rows:
        batch = task.collate([row], pad)
        outputs = int((task.labels(batch) != IGNORED).sum())
        total, count = total + outputs * float(task.loss(task.run(model, batch).logits, batch)), count + outputs
    batch = task.collate(rows, pad)
    off = abs(float(task.loss(task.run(model, batch).logits, batch)) - total / max(1, count))
    require(
        off < CLOSE, f"{where}: the loss of a padded batch is {off:.2g} off that of its examples alone; padding counts"
    )
    one, other = (_real(task, model, task.collate(rows, value)) for value in (pad, pad + 1))
    require(
        one.shape == other.shape and torch.allclose(one, other, atol=CLOSE),
        f"{where}: outputs change with what padding is filled with; the model is not told what is padding",
    )


def _real(task: Task, model: nn.Module, batch: Batch) -> Tensor:
    return task.run(model, batch).logits[task.labels(batch) != IGNORED]


def _check_scores(
    task: Task, model: nn.Module, known: tuple[Data, Examples], processor: Any, pad: int, where: str
) -> None:
    """Predictions are one an example, whoever runs the model; scores know of them, and not of the order of examples."""
    data, examples = known
    found = task.predict(model, examples, pad)
    require(len(found) == len(examples), f"{where}: {len(found)} predictions for {len(examples)} examples")
    if isinstance(task, InOnePass):
        _check_one_pass(task, model, examples, found, pad, where)
    worth = scores(task, found, examples)
    require(bool(worth), f"{where}: no score")
    for score in worth:
        inside = score.low <= score.value + CLOSE and score.value <= score.high + CLOSE
        require(
            inside, f"{where}: {score.metric.name} {score.value} lies outside its interval {score.low} to {score.high}"
        )
    same = compare(task, found, found, examples, samples=10)
    require(same.delta == 0, f"{where}: a model differs from itself by {same.delta}")
    turned = data.picked(range(len(data))[::-1])
    again = task.encode(turned, processor, model)
    backwards = scores(task, task.predict(model, again, pad), again)
    require(_values(worth, backwards), f"{where}: scores change with the order of examples")
    require(_knows(task, model, examples, found, pad), f"{where}: scores are the same whatever is predicted")
    for name, each in task.baselines(examples, examples).items():
        require(
            len(each) == len(examples),
            f"{where}: the baseline {name!r} has {len(each)} predictions for {len(examples)} examples",
        )
        scores(task, each, examples)
    shown = task.shown(found, examples, 0)
    require(all(isinstance(text, str) for text in shown), f"{where}: `shown` gives {shown}; expected three texts")


def _check_one_pass(task: Task, model: nn.Module, examples: Examples, found: Predictions, pad: int, where: str) -> None:
    """A session gets the same predictions as a module, and an example alone the same as among others."""
    assert isinstance(task, InOnePass)
    session = task.predict(_Exported(task, model), examples, pad)
    require(_alike(found.rows, session.rows), f"{where}: a session that gives the same logits gets other predictions")
    for index in range(len(examples)):
        alone = task.predict(model, _Alone(examples[index], examples.lengths[index : index + 1]), pad)
        require(
            _alike(found.rows[index : index + 1], alone.rows),
            f"{where}: what is predicted for example {index + 1} is not what is predicted for it alone; padding counts",
        )


def _knows(task: Task, model: nn.Module, examples: Examples, found: Predictions, pad: int) -> bool:
    """Whether one of some models with other weights is scored otherwise; what is added up of an example counts."""
    mine = task.measures(found, examples)[0].rows
    for seed in range(OTHERS):
        other, chance = copy.deepcopy(model), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for tensor in other.parameters():
                tensor.copy_(
                    tensor + tensor.std().nan_to_num().clamp_min(0.1) * torch.randn(tensor.shape, generator=chance)
                )
        if not np.array_equal(mine, task.measures(task.predict(other, examples, pad), examples)[0].rows):
            return True
    return False


def _values(one: tuple[Score, ...], other: tuple[Score, ...]) -> bool:
    return all(abs(a.value - b.value) <= CLOSE * max(1.0, abs(a.value)) for a, b in zip(one, other, strict=True))


def _alike(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.shape == other.shape and bool(np.allclose(one.astype(float), other.astype(float), atol=CLOSE))


@dataclass(frozen=True)
class _Alone:
    """A single example."""

    row: object
    lengths: NDArray[Any]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> object:
        return self.row


class _Exported:
    """What an exported model is to a task, made of the model itself."""

    def __init__(self, task: InOnePass, model: nn.Module) -> None:
        self.task, self.model = task, model

    def logits(self, batch: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The logits of the model's inputs, which hold no labels."""
        with torch.no_grad():
            found = self.task.run(self.model, {name: torch.from_numpy(value) for name, value in batch.items()})
        logits: NDArray[Any] = found.logits.numpy()
        return logits
