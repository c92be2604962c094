"""The protocol of tasks: what a model is for. Everything that knows of inputs and outputs asks the task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

from tprune.core.model import Outputs

Batch = Mapping[str, Tensor]


class States(NamedTuple):
    """The hidden states of one stack of layers.

    Attributes:
        layers: the output of every layer, (batch, positions, width).
        kept: bool (batch, positions): which positions are no padding.
    """

    layers: Sequence[Tensor]
    kept: Tensor


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


@runtime_checkable
class Task(Protocol):
    """What a model is for.

    A batch is what the task's own data gives: named tensors, with padding. Nobody else looks at its names.
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
        """The model's outputs for a batch, teacher-forced where it generates; with its hidden states where they are asked for."""
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

    def states(self, outputs: Outputs, batch: Batch) -> Sequence[States]:
        """The hidden states of each stack, of outputs that have them."""
        ...

    def depth(self, model: nn.Module) -> Mapping[str, int]:
        """The number of layers of each stack that `states` gives."""
        ...

    def decode(self, models: Sequence[nn.Module], batch: Batch, steps: int) -> Iterator[Sequence[Tensor]]:
        """What each model makes of the same outputs step by step, with its own cache; nothing where a model runs in one pass."""
        ...

    def first_difference(
        self, models: Sequence[nn.Module], batch: Batch, differs: Callable[[Tensor, Tensor], bool]
    ) -> str:
        """Where in two models their states begin to differ, in words."""
        ...
