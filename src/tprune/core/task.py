"""The protocol of tasks: what a model is for. Everything that knows of inputs and outputs asks the task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from tprune.core.data import Data, Sources
from tprune.core.model import Outputs
from tprune.core.score import Measure

Batch = Mapping[str, Tensor]


class States(NamedTuple):
    """The hidden states of one stack of layers.

    Attributes:
        layers: the output of every layer, (batch, positions, width).
        kept: bool (batch, positions): which positions are no padding.
    """

    layers: Sequence[Tensor]
    kept: Tensor


class Shown(NamedTuple):
    """An example with its prediction, in words, for a page.

    Attributes:
        input: what the model was given.
        reference: what was expected.
        prediction: what the model gave.
    """

    input: str
    reference: str
    prediction: str


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for examples, in their order.

    Attributes:
        rows: one row an example; what is in a row is the task's own, such as the logits of all classes.
        facts: numbers that results are to record beside scores, such as the share of outputs that were cut short.
    """

    rows: NDArray[Any]
    facts: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)


@runtime_checkable
class Session(Protocol):
    """An exported model that runs in one pass."""

    def logits(self, batch: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The logits of a batch, whose inputs are those of `Task.prompt`."""
        ...


@runtime_checkable
class Examples(Protocol):
    """A task's data, encoded: item i is what `Task.collate` takes."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int) -> object:
        """One of them."""
        ...

    @property
    def lengths(self) -> np.ndarray:
        """How much work each is, in positions."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What became of inputs that do not fit the model, with their number, in sentences; none where all fit."""
        ...


@runtime_checkable
class Task(Protocol):
    """What a model is for: its inputs and outputs, its data, and what predictions are worth.

    A batch is what the task's own data gives: named tensors, with padding. Nobody else looks at its names.
    What only some tasks can do is in `HasStates`, `Decodes` and `LocatesDifference`.
    """

    @property
    def name(self) -> str:
        """As in recipes."""
        ...

    def matches(self, model: nn.Module) -> bool:
        """Whether a model is made for the task."""
        ...

    def example(self, model: nn.Module) -> Batch:
        """One input of typical size, on the model's device: what sizes are counted for. Its values do not matter."""
        ...

    def random(self, model: nn.Module) -> Batch:
        """A few random inputs, some of them padded, with what is expected of them: for checks without data."""
        ...

    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        """One padded batch of items of the task's data."""
        ...

    def run(self, model: nn.Module, batch: Batch, *, hidden: bool = False) -> Outputs:
        """The model's outputs for a batch, teacher-forced where it generates.

        With its hidden states where they are asked for.
        """
        ...

    def prompt(self, batch: Batch) -> Batch:
        """What of a batch a model is given that generates its outputs itself."""
        ...

    def loss(self, logits: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
        """The mean loss of an output, in nats."""
        ...

    def labels(self, batch: Batch) -> Tensor:
        """The expected class of every output, `IGNORED` where none is expected."""
        ...

    def positions(self, batch: Batch, stack: str) -> Tensor:
        """Which positions are no padding: bool (batch, positions), of what layers of this stack read."""
        ...

    def read(self, sources: Sources, columns: Sequence[str] = ()) -> Data:
        """Data from files or folders, joined where there are several.

        Args:
            sources: what the task can read.
            columns: of a table; the usual names if not given.

        Raises:
            InputError: something cannot be read; names file and line.
        """
        ...

    def processor(self, folder: str | Path) -> Any:
        """What encodes inputs, from a model's folder: a tokeniser, or image preprocessing.

        None where nothing is needed.
        """
        ...

    def encode(self, data: Any, processor: Any, model: nn.Module) -> Examples:
        """Data ready for a model.

        Raises `InputError` for a label that the model does not know, naming file and line.
        """
        ...

    def predict(self, model: Any, examples: Any, pad: int = 0) -> Predictions:
        """What a model predicts, whatever it is exported to.

        Args:
            model: a module, which is left as it was, or what runs an exported model, such as a `Session`.
            examples: of `encode`.
            pad: the id of padding.
        """
        ...

    def measures(self, predictions: Predictions, examples: Any) -> Sequence[Measure]:
        """What the predictions are worth; the first is the metric that models are compared by."""
        ...

    def baselines(self, train: Any, test: Any) -> Mapping[str, Predictions]:
        """By name the predictions for `test` of what knows only the frequencies of `train`.

        None where there are none.
        """
        ...

    def shown(self, predictions: Predictions, examples: Any, index: int) -> Shown:
        """An example and what was predicted for it, in words."""
        ...


@runtime_checkable
class HasStates(Protocol):
    """A task whose models have hidden states that can be compared layer by layer."""

    def states(self, outputs: Outputs, batch: Batch) -> Sequence[States]:
        """The hidden states of each stack, of outputs that have them."""
        ...

    def depth(self, model: nn.Module) -> Mapping[str, int]:
        """The number of layers of each stack that `states` gives."""
        ...


@runtime_checkable
class Decodes(Protocol):
    """A task whose models generate their outputs step by step, with a cache."""

    def decode(self, models: Sequence[nn.Module], batch: Batch, steps: int) -> Iterator[Sequence[Tensor]]:
        """What each model makes of the same outputs step by step, each with its own cache."""
        ...


@runtime_checkable
class LocatesDifference(Protocol):
    """A task that can say where in two models their states begin to differ."""

    def first_difference(
        self, models: Sequence[nn.Module], batch: Batch, differs: Callable[[Tensor, Tensor], bool]
    ) -> str:
        """The place, in words."""
        ...


@runtime_checkable
class WritesSentences(Protocol):
    """A task whose models write sentences by beam search, so that they can learn from a teacher's own."""

    @property
    def beams(self) -> int | None:
        """Of the search; as the model's generation settings have it where it is None."""
        ...

    def searching(self, beams: int, tokenize: str | None) -> Task:
        """The task with this number of beams, and with this tokeniser of its metric (None: one that fits)."""
        ...


@runtime_checkable
class KeepsOutputs(Protocol):
    """A task without classes, whose models are to give what the dense model gives: its loss is a distance to that.

    `Task.encode` is given the dense model, and puts what it gives into the examples.
    """

    def targets(self, batch: Batch) -> Tensor:
        """What is expected, of the logits' shape."""
        ...

    def relative_to(self, examples: Any, reference: Predictions | None) -> Examples:
        """The same examples with the predictions of another model as targets; None for none."""
        ...


@runtime_checkable
class Transcribes(Protocol):
    """A task whose models write what is said in recordings, of which a processor makes features."""

    def exported_processor(self, folder: Path, tokenizer: Any) -> Any:
        """The processor of an exported folder, where its feature extractor lies.

        Args:
            folder: that has the feature extractor's file.
            tokenizer: that of the folder; None where it has none.
        """
        ...


@runtime_checkable
class Subsamples(Protocol):
    """A task whose models give fewer outputs than they read positions; how many, their layers say."""

    def heard(self, model: nn.Module, batch: Batch) -> Tensor:
        """Which outputs are of no padding, of a batch that may have no labels: bool (batch, outputs)."""
        ...


@runtime_checkable
class Transcriber(Protocol):
    """An exported model that writes what is said in recordings."""

    def transcribed(self, features: NDArray[Any], beams: int | None = None) -> list[list[int]]:
        """The tokens of each transcript, of features (recordings, bands, frames)."""
        ...


def decoded(task: Task, models: Sequence[nn.Module], batch: Batch, steps: int) -> Iterator[Sequence[Tensor]]:
    """The steps of `Decodes.decode`; none where the task's models run in one pass.

    Args:
        task: of the models.
        models: that are compared.
        batch: their inputs.
        steps: how many outputs are made at most.
    """
    return task.decode(models, batch, steps) if isinstance(task, Decodes) else iter(())


def first_difference(
    task: Task, models: Sequence[nn.Module], batch: Batch, differs: Callable[[Tensor, Tensor], bool]
) -> str:
    """Where two models begin to differ, as far as the task can say it.

    Args:
        task: of the models.
        models: two, which are compared.
        batch: their inputs.
        differs: whether two tensors differ.
    """
    if isinstance(task, LocatesDifference):
        return task.first_difference(models, batch, differs)
    return "somewhere in the model"


def missing_members(task: object) -> list[str]:
    """The members of `Task` that something lacks.

    Args:
        task: any object.

    Example:
        >>> missing_members(object())[:3]
        ['name', 'matches', 'example']
    """
    return [name for name in vars(Task) if not name.startswith("_") and not hasattr(task, name)]
