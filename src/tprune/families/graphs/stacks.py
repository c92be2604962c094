"""An encoder-decoder as its graphs see it: stacks of layers, whatever the class calls their modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from tprune.families.graphs.positions import ByDistance
from tprune.families.graphs.removed import remainder, removed


class Maps(NamedTuple):
    """What the linear maps of an attention are called, of queries, keys, values and of the output."""

    q: str
    k: str
    v: str
    o: str


@dataclass(frozen=True)
class AttentionParts:
    """An attention of a layer.

    Attributes:
        module: holds the linear maps; it has `removed` where nothing is left.
        norm: of what it reads, or of the sum that it adds to.
        maps: the names of the linear maps.
        heads: that are left.
        scaling: that scores are multiplied by.
        kept: which heads of the dense model are left, where they share a bias by distance; None for all.
    """

    module: Any
    norm: nn.Module
    maps: Maps
    heads: int
    scaling: float
    kept: tuple[int, ...] | None = None

    @property
    def removed(self) -> bool:
        """Whether nothing is left."""
        return removed(self.module)

    def output(self, x: Tensor) -> Tensor:
        """The output map."""
        out: Tensor = getattr(self.module, self.maps.o)(x)
        return out

    def remainder(self) -> Tensor | float:
        """What a removed one still adds to the residual."""
        return remainder(getattr(self.module, self.maps.o, None))


@dataclass(frozen=True)
class FeedForwardParts:
    """A feed-forward block of a layer: `adds` what it adds to the residual, and its norm."""

    adds: Callable[[Tensor], Tensor | float]
    norm: nn.Module


@dataclass(frozen=True)
class LayerParts:
    """A layer; that of an encoder has no attention to the source."""

    own: AttentionParts
    cross: AttentionParts | None
    feed_forward: FeedForwardParts


class Positions(Protocol):
    """What the positions of tokens add to their embeddings."""

    def of_texts(self, ids: Tensor) -> Tensor:
        """Of texts `[B, S]` from their beginning: `[B or 1, S, D]`, or without the first axis."""
        ...

    def of_step(self, ids: Tensor, position: Tensor) -> Tensor:
        """Of one token a text, `[B]`, with `position` `[1]` tokens before it: `[B or 1, D]`."""
        ...


@dataclass(frozen=True)
class StackParts:
    """An encoder or a decoder.

    Attributes:
        words: the embedding of tokens; None where no tokens are read.
        scale: that embeddings are multiplied by, where the embedding does not do it.
        positions: what is added to embeddings; None where attention alone knows of positions.
        norm: of the sum; None where there is none.
        last: the norm of what the last layer gives; None where there is none.
        norms_first: whether norms come before blocks, `x + block(norm(x))`, and not after them, `norm(x + block(x))`.
        distance: what the distance of two tokens adds to the scores of every self-attention; None where nothing does.
        tokens: how many there are positions for.
        layers: in order.
    """

    words: nn.Embedding | None
    scale: float
    positions: Positions | None
    norm: nn.Module | None
    last: nn.Module | None
    norms_first: bool
    distance: ByDistance | None
    tokens: int
    layers: tuple[LayerParts, ...]

    @property
    def tokens_of(self) -> nn.Embedding:
        """The embedding of tokens, of a stack that reads some."""
        assert self.words is not None
        return self.words

    def embedded(self, words: Tensor, positions: Tensor | None) -> Tensor:
        """What the first layer reads."""
        x = words if self.scale == 1 else words * self.scale
        x = x if positions is None else x + positions
        return x if self.norm is None else self.norm(x)

    def with_block(self, norm: nn.Module, x: Tensor, block: Callable[[Tensor], Tensor | float]) -> Tensor:
        """The residual with what a block adds."""
        out: Tensor = x + block(norm(x)) if self.norms_first else norm(x + block(x))
        return out

    def ended(self, x: Tensor) -> Tensor:
        """What is read of the last layer."""
        return x if self.last is None else self.last(x)


@dataclass(frozen=True)
class Stacks:
    """A whole model.

    Attributes:
        encoder: reads the source.
        decoder: writes the target.
        output: the matrix of logits.
        bias: of the logits, `[V]`; None where there is none.
        scale: that what the output matrix reads is multiplied by.
    """

    encoder: StackParts
    decoder: StackParts
    output: nn.Parameter
    bias: Tensor | None
    scale: float = 1.0


class Anatomy(Protocol):
    """Models whose modules are called alike."""

    @property
    def classes(self) -> tuple[type[nn.Module], ...]:
        """Those of the models; pruned ones are subclasses."""
        ...

    def stacks(self, model: nn.Module) -> Stacks:
        """Its parts."""
        ...


def cross_attentions(decoder: StackParts) -> Iterator[tuple[int, AttentionParts]]:
    """Number and attention to the source of every decoder layer that has one left."""
    for number, layer in enumerate(decoder.layers):
        if layer.cross is not None and not layer.cross.removed:
            yield number, layer.cross


def self_attentions(stack: StackParts) -> Iterator[tuple[int, AttentionParts]]:
    """Number and self-attention of every layer that has one left."""
    return ((number, layer.own) for number, layer in enumerate(stack.layers) if not layer.own.removed)


def name_in(model: nn.Module, parameter: Tensor) -> str:
    """The first name of a parameter of a model."""
    return next(name for name, one in model.named_parameters() if one is parameter)


class FusedMaps(nn.Module):
    """Some of the maps of queries, keys and values of an attention as one product, the queries already scaled.

    At batch 1 an operator costs about as much as its arithmetic; matrices between gathers stay apart. `made_of` says
    what the product is made of, see `tprune.families.graphs.origins.origins`.
    """

    def __init__(self, attention: AttentionParts, *names: str) -> None:
        super().__init__()
        self.made_of: dict[str, tuple[str, ...]] = {}
        maps = [getattr(attention.module, name) for name in names]
        self.maps = nn.ModuleList(maps)
        self.scales = [attention.scaling if name == attention.maps.q else 1.0 for name in names]
        self.fused: nn.Linear | None = None
        if all(isinstance(one, nn.Linear) for one in maps):
            self.sizes = [one.out_features for one in maps]
            there = [i for i, one in enumerate(maps) if one.bias is not None]  # Whisper's keys have none
            self.fused = nn.Linear(maps[0].in_features, sum(self.sizes), bias=bool(there))
            self._hold("weight", [one.weight for one in maps], range(len(maps)))
            if there:
                biases = [one.weight.new_zeros(len(one.weight)) if one.bias is None else one.bias for one in maps]
                self._hold("bias", biases, there)

    def _hold(self, name: str, parts: Sequence[Tensor], made: Iterable[int]) -> None:
        """Sets a parameter of the product, made of those of some maps."""
        scaled = [part.detach() * scale for part, scale in zip(parts, self.scales, strict=True)]
        setattr(self.fused, name, nn.Parameter(torch.cat(scaled)))
        self.made_of[f"fused.{name}"] = tuple(f"maps.{i}.{name}" for i in made)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """One tensor a name."""
        if self.fused is None:
            return tuple(
                one(x) if scale == 1 else one(x) * scale for one, scale in zip(self.maps, self.scales, strict=True)
            )
        parts: tuple[Tensor, ...] = self.fused(x).split(self.sizes, -1)
        return parts


def fused_maps(attention: AttentionParts, *names: str) -> nn.Module:
    """`FusedMaps`; nothing of an attention that is removed."""
    return nn.Identity() if attention.removed else FusedMaps(attention, *names)
