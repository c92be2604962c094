"""A graph: a module with example inputs and the signature that a runtime sees; and who makes the graphs of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tprune.core.graph import Dialect, Signature
from tprune.core.task import Batch, Task
from tprune.support.errors import InputError
from tprune.support.registry import Registry


@dataclass(frozen=True)
class Graph:
    """What a runtime lowers.

    Attributes:
        module: computes the outputs, a tuple in the order of `signature.outputs` or a single tensor.
        example: what it is called with: tensors, or tuples of tensors, in the order of `signature.inputs`.
        signature: names, types and sizes.
        bytes: of the weights that it holds, in single precision.
        limits: the largest values of free sizes of the inputs, where the model has one: see `Skeleton.limits`.
        calibration: inputs of its task, batch by batch, for what is measured on them; usually none.
    """

    module: nn.Module
    example: tuple[Any, ...]
    signature: Signature
    bytes: int
    limits: Mapping[str, int] = field(default_factory=dict)
    calibration: tuple[Mapping[str, NDArray[Any]], ...] = ()

    @property
    def name(self) -> str:
        """Of the graph, and of its file without ending."""
        return self.signature.name

    @property
    def dynamic_shapes(self) -> tuple[Any, ...]:
        """The free axes of the example, nested as it is, as `torch.export` wants them."""
        return self.shapes(lambda dim: torch.export.Dim.DYNAMIC)

    def shapes(self, free: Callable[[str], Any]) -> tuple[Any, ...]:
        """The free axes as `dynamic_shapes`, each with what `free` says of its name."""
        axes = iter(
            {axis: free(dim) for axis, dim in enumerate(spec.dims) if isinstance(dim, str)}
            for spec in self.signature.inputs
        )
        return _nested(self.example, axes)

    def __call__(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs for inputs by name."""
        return self.by(self.module, feeds)

    def by(self, called: Callable[..., Any], feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs for inputs by name, of what stands for the module, such as the same compiled."""
        given = iter([feeds[spec.name] for spec in self.signature.inputs])
        found = called(*_nested(self.example, given))
        return dict(zip(self.signature.outputs, (found,) if isinstance(found, Tensor) else found, strict=True))


def _nested(like: Iterable[Any], leaves: Iterator[Any]) -> tuple[Any, ...]:
    """The leaves in tuples as those of `like`."""
    return tuple(next(leaves) if isinstance(each, Tensor) else _nested(each, leaves) for each in like)


def weights(*modules: nn.Module) -> int:
    """Bytes of the parameters of modules in single precision; a shared one counts once."""
    found = {id(p): p.numel() for module in modules for p in module.parameters()}
    return 4 * sum(found.values())


class Skeleton(Protocol):
    """How models of one build are run: in which graphs, and by which phases they are timed."""

    @property
    def name(self) -> str:
        """In messages."""
        ...

    @property
    def phases(self) -> tuple[str, ...]:
        """What a model is timed by."""
        ...

    @property
    def searched(self) -> bool:
        """Whether outputs are searched for token by token, as sentences are translated.

        `Translator` runs such models; `Transcriber` those that are a `Listening`.
        """
        ...

    def matches(self, model: nn.Module) -> bool:
        """Whether a model is built so."""
        ...

    def check(self, model: nn.Module) -> None:
        """Raises `InputError` for a model that has no graphs, with the reason."""
        ...

    def limits(self, model: nn.Module) -> Mapping[str, int]:
        """The largest values of the free sizes of the graphs' inputs, where there is one."""
        ...

    def graphs(
        self, model: nn.Module, task: Task, inputs: Batch, dialect: Dialect, rows: Sequence[int] = ()
    ) -> tuple[Graph, ...]:
        """The graphs of a model that evaluates in single precision.

        Args:
            model: dense or pruned.
            task: that it is made for.
            inputs: what it is given, of sizes that differ and are larger than 1.
            dialect: how attention is written.
            rows: the tokens that a decoder knows; all if none are given.
        """
        ...


@runtime_checkable
class Listening(Protocol):
    """A skeleton of models that hear recordings and write what is said in them."""

    def features(self, model: Any) -> tuple[int, int]:
        """Bands and frames of the features that a model reads of every recording."""
        ...


SKELETONS: Registry[Skeleton] = Registry(
    "skeleton",
    "tprune.skeletons",
    {
        "encoder-decoder": "tprune.families.graphs.encoder_decoder:ENCODER_DECODER",
        "speech": "tprune.families.graphs.speech:SPEECH",
        "decoder-only": "tprune.families.graphs.decoder_only:DECODER_ONLY",
    },
)


def skeleton_of(model: nn.Module) -> Skeleton:
    """The skeleton of a model; what matches none with graphs of its own runs in a single pass.

    Raises:
        InputError: the model has no graphs, with the reason.
    """
    from tprune.families.graphs.single_pass import SINGLE_PASS

    found = next((one for one in SKELETONS.values() if one.matches(model)), SINGLE_PASS)
    try:
        found.check(model)
    except InputError as error:
        raise InputError(f"cannot export this {type(model).__name__}: {error}") from None
    return found
