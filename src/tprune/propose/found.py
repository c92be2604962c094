"""What a trace shows of a model's blocks: attentions, feed-forward blocks, and the residual stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from tprune.families.rows import CONV1D, LINEAR, Weights
from tprune.propose.trace import Trace


@dataclass(frozen=True)
class FoundAttention:
    """An attention.

    Attributes:
        module: that holds the maps of queries, keys and values.
        maps: of queries, keys, values and of the output; one name three times where one map makes all.
        heads: query heads.
        kv: key-value heads.
        dim: of a head.
        inside: whether something may be cut inside heads: nothing but products touches their dimensions.
        order: how the outputs of one map for all are made up; empty for maps of their own.
        crosses: whether keys are made of other inputs than queries.
        alone: whether its module holds nothing but its maps and norms.
        norms: modules that normalise heads.
        held: how the maps hold their weights.
    """

    module: str
    maps: tuple[str, str, str, str]
    heads: int
    kv: int
    dim: int
    inside: bool
    order: str = ""
    crosses: bool = False
    alone: bool = True
    norms: tuple[str, ...] = ()
    held: Weights = LINEAR


@dataclass(frozen=True)
class FoundFeedForward:
    """A feed-forward block; see `tprune.families.feed_forward.FeedForward`."""

    module: str
    layer: str
    ups: tuple[str, ...]
    down: str
    parts: int = 1
    held: Weights = LINEAR


@dataclass(frozen=True)
class FoundView:
    """A tensor on the residual stream that is of no linear map, embedding or norm: its role, name and pattern."""

    role: str
    tensor: str
    pattern: str


@dataclass(frozen=True)
class FoundStream:
    """The residual stream; see `tprune.families.residual.Residual`."""

    embeddings: tuple[str, ...]
    norms: tuple[str, ...]
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    rms: bool
    offset: int
    conv1d: tuple[str, ...] = ()
    tensors: tuple[FoundView, ...] = ()


@dataclass(frozen=True)
class Findings:
    """All that was found, and what was not, in words."""

    attentions: tuple[FoundAttention, ...]
    feed_forwards: tuple[FoundFeedForward, ...]
    stream: FoundStream | None
    notes: tuple[str, ...] = field(default=())


def held_by(model: nn.Module, weight: str) -> Weights | None:
    """How the map of a weight holds it; None for a tensor that is no weight of a linear map.

    Args:
        model: that holds it.
        weight: the name of the tensor.
    """
    module, _, what = weight.rpartition(".")
    owner: Any = model.get_submodule(module)
    return next((held for held in (LINEAR, CONV1D) if what == "weight" and isinstance(owner, held.kind)), None)


def holder(names: tuple[str, ...]) -> str:
    """The module that holds all modules of these names, empty where only the model does.

    Args:
        names: of modules.

    Example:
        >>> holder(("a.b.up", "a.b.down")), holder(("a.up", "a.up"))
        ('a.b', 'a')
    """
    split = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)


def alone(model: nn.Module, module: str, others: tuple[str, ...]) -> bool:
    """Whether a module holds no other parameters than those of some modules.

    Args:
        model: that holds it.
        module: its name.
        others: names of modules.
    """
    if not module:
        return False
    names = [f"{module}.{name}" for name, _ in model.get_submodule(module).named_parameters()]
    return all(name.rpartition(".")[0] in others for name in names)


def notes_of(trace: Trace) -> list[str]:
    """What of a trace no rule is known for, or none that worked, in words."""
    return [f"{why}: axes are not followed through it" for why in trace.strange.values()]
