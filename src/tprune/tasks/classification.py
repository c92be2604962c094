"""What tasks share that give one class to an input, in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tprune.core.labels import label_loss
from tprune.core.score import Measure
from tprune.core.task import Batch, Predictions, Shown
from tprune.support.errors import InputError
from tprune.tasks.metrics.accuracy import accuracy
from tprune.tasks.one_pass import OnePass


class Classified(Protocol):
    """Encoded inputs with one class each."""

    @property
    def classes(self) -> tuple[int, ...]:
        """The class of each."""
        ...

    @property
    def names(self) -> Mapping[int, str]:
        """What classes are called, where that is known."""
        ...

    @property
    def inputs(self) -> Sequence[str]:
        """What a page shows of each input; nothing where the raw inputs are not at hand."""
        ...


class Classification(OnePass):
    """One class an input: labels are (batch,), logits (batch, classes)."""

    def labels(self, batch: Batch) -> Tensor:
        """The classes, (batch,)."""
        return batch["labels"]

    def loss(self, logits: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
        """Mean cross entropy of an input (nats)."""
        return label_loss(logits, batch["labels"], smoothing)

    def rows(self, logits: Tensor, batch: Batch) -> NDArray[Any]:
        """The logits of all classes."""
        found: NDArray[Any] = logits.numpy()
        return found

    def measures(self, predictions: Predictions, examples: Classified) -> Sequence[Measure]:
        """Accuracy. Raises `InputError` for a class that the model has no output for."""
        outputs = predictions.rows.shape[1]
        if max(examples.classes) >= outputs:
            raise InputError(f"class {max(examples.classes)} is expected, and the model has {outputs} outputs, from 0")
        finite = np.isfinite(predictions.rows).all(1, keepdims=True)
        found = accuracy(predictions.rows.argmax(1).tolist(), examples.classes)
        return (
            Measure(found.metric, np.where(finite, found.rows, np.nan), found.value, found.signature, found.interval),
        )

    def baselines(self, train: Classified, test: Classified) -> Mapping[str, Predictions]:
        """The class that most of the training set has."""
        counts = np.bincount(train.classes, minlength=max(test.classes) + 1)
        return {"majority class": Predictions(np.tile(counts == counts.max(), (len(test.classes), 1)).astype(float))}

    def shown(self, predictions: Predictions, examples: Classified, index: int) -> Shown:
        """The input, its class and the predicted one."""
        expected, predicted = examples.classes[index], int(predictions.rows[index].argmax())
        text = examples.inputs[index] if examples.inputs else f"input {index + 1}"
        return Shown(text, *(examples.names.get(each, str(each)) for each in (expected, predicted)))
