"""The protocol of tasks: what a model is for. Everything that knows of inputs and outputs asks the task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

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

    def run(self, model: nn.Module, batch: Batch, *, hidden: bool = False) -> Outputs:
        """The model's outputs for a batch, teacher-forced where it generates; with its hidden states where they are asked for."""
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
