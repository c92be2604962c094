"""The graph of an exported Llama, or of another decoder with rotations, as plain torch over the model's submodules.

It reads a whole text, and one token further.

Pre-norm layers, `x = x + sublayer(norm(x))`, whose query heads share keys and values in groups. Sizes are read from the
weights, so pruned shapes (fewer groups of heads, no attention, no feed-forward, a narrower residual) need no case of
their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tprune.core.caches import LayerCache
from tprune.core.graph import BATCH, PAST, TOKENS, TOTAL, Dialect, Signature, TensorSpec
from tprune.core.task import Batch, Task
from tprune.families.graphs.attention import MASKED, MIXES, capped, masked
from tprune.families.graphs.decoder_attention import HeadSizes, rotated
from tprune.families.graphs.decoders import NAMES, DecoderBlock, DecoderLayer, decoder_of
from tprune.families.graphs.graph import Graph, weights
from tprune.families.graphs.removed import remainder
from tprune.support.errors import InputError

STATIC = ("default", "linear", "llama3", "yarn")  # rotations whose angles depend on the position alone


def attentions(model: Any) -> list[tuple[int, DecoderLayer]]:
    """Number and layer of every attention that is left."""
    return [(n, layer) for n, layer in enumerate(decoder_of(model).layers) if not layer.attention.removed]


def heads_of(layer: DecoderLayer) -> HeadSizes:
    """The sizes of the attention of a layer, whatever pruning has left of it."""
    return layer.maps.sizes(layer.attention.module)


class Angles(nn.Module):
    """Cosines and sines of the positions' rotations, `[T, d/2]` each."""

    def __init__(self, rotary: Any) -> None:
        super().__init__()
        self.scale = float(rotary.attention_scaling)
        self.frequencies: Tensor
        self.register_buffer("frequencies", rotary.inv_freq.detach().float()[None])

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Of positions `[T]`."""
        angles = positions[:, None].float() * self.frequencies
        return angles.cos() * self.scale, angles.sin() * self.scale


class Look(nn.Module):
    """One attention: what it adds to the residual, and the grown keys and values."""

    def __init__(self, layer: DecoderLayer, dialect: Dialect, score_cap: float | None = None) -> None:
        super().__init__()
        self.attention, self.output = layer.attention.module, layer.maps.output
        self.projected = partial(layer.maps.projected, self.attention, heads_of(layer))
        # operators of attention mask before they limit scores, or limit none
        self.mix = MIXES[dialect] if score_cap is None else partial(masked, cap=score_cap)

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, ...]:
        """`x` `[B, T, D]`, `mask` `[B, 1, T, P + T]`, past `key` and `value` `[B, k, P, d]`."""
        queries, keys, values = self.projected(x)
        mixed, *grown = self.mix(rotated(queries, *turn), rotated(keys, *turn), values, mask, key, value)
        return getattr(self.attention, self.output)(mixed.transpose(1, 2).flatten(2)), *grown


class CachedDecoder(nn.Module):
    """`T` tokens further, after `P` before them: logits `[B, T, V]` and the grown caches.

    `input_ids` `[B, T]`, `attention_mask` `[B, P + T]` (0 where a token is padding), `past` keys and values in turn,
    each `[B, k, P, d]`. With P = 0 it reads a whole text, with T = 1 it takes one step.
    """

    def __init__(self, model: Any, dialect: Dialect = "onnx23") -> None:
        super().__init__()
        self.model, self.decoder = model, decoder_of(model)
        self.angles, cap = Angles(self.decoder.rotary), self.decoder.score_cap
        self.looks = nn.ModuleDict({str(number): Look(layer, dialect, cap) for number, layer in attentions(model)})

    def forward(self, input_ids: Tensor, attention_mask: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """See the class."""
        decoder, tokens, total = self.decoder, input_ids.shape[1], attention_mask.shape[1]
        every = torch.arange(total)
        positions = every[total - tokens :]
        turn, x, before = self.angles(positions), decoder.words(input_ids), iter(past)
        masks = Masks(every, positions, attention_mask, x.dtype)
        present: list[Tensor] = []
        for number, layer in enumerate(decoder.layers):
            read, look, units = x, layer.attention, layer.feed_forward
            normed = look.norm(x)
            if look.removed:
                x = x + _added(look, None)
            else:
                out, *grown = self.looks[str(number)](normed, turn, masks.of(layer.window), next(before), next(before))
                present += grown
                x = x + _added(look, out)
            normed = units.norm(read if layer.parallel else x)
            x = x + _added(units, None if units.removed else units.module(normed))
        return (capped(self.model.lm_head(decoder.norm(x)), decoder.logit_cap), *present)


def _added(block: DecoderBlock, out: Tensor | None) -> Tensor | float:
    """What a block adds to the residual, of what it computed; None where it is removed."""
    added = remainder(getattr(block.module, block.output, None)) if out is None else out
    if block.norm_of_output is None or isinstance(added, float):  # a norm leaves nothing of nothing
        return added
    normed: Tensor = block.norm_of_output(added)
    return normed


class Masks:
    """What is added to the scores of attentions in one run of a graph, by how many tokens they read."""

    def __init__(self, every: Tensor, positions: Tensor, attention_mask: Tensor, dtype: torch.dtype) -> None:
        self._every, self._positions, self._dtype = every[None, :], positions[:, None], dtype
        self._seen = (self._every <= self._positions)[None, None] & attention_mask[:, None, None, :].bool()
        self._found: dict[int | None, Tensor] = {}

    def of(self, window: int | None) -> Tensor:
        """`[B, 1, T, P + T]`."""
        if window not in self._found:
            seen = self._seen if window is None else self._seen & (self._every > self._positions - window)[None, None]
            self._found[window] = (~seen).to(self._dtype) * MASKED
        return self._found[window]


@dataclass(frozen=True)
class DecoderOnly:
    """Llama and decoders like it: one graph, `decoder`, that reads whole texts and takes single steps."""

    name: ClassVar[str] = "decoder-only"
    searched: ClassVar[bool] = False
    phases: ClassVar[tuple[str, ...]] = ("prefill", "step")

    def matches(self, model: nn.Module) -> bool:
        """By class; pruned ones are subclasses."""
        return isinstance(model, tuple(NAMES))

    def check(self, model: Any) -> None:
        """Raises `InputError` for rotations that depend on how long the text is."""
        kind = getattr(decoder_of(model).rotary, "rope_type", "default")
        if kind not in STATIC:
            raise InputError(f"its rotary positions are {kind!r}; expected one of {', '.join(STATIC)}")

    def limits(self, model: Any) -> Mapping[str, int]:
        """Tokens read before and now."""
        return {TOTAL: int(model.config.max_position_embeddings)}

    def graphs(
        self, model: Any, task: Task, inputs: Batch, dialect: Dialect, rows: Sequence[int] = ()
    ) -> tuple[Graph, ...]:
        """See `Skeleton.graphs`."""
        module = CachedDecoder(model, dialect).eval()
        # sizes 0 and 1 are treated as constants by torch.export, so the example uses larger ones that all differ
        batch, tokens, before = 2, 5, 3
        ids, mask = torch.zeros(batch, tokens, dtype=torch.long), torch.ones(batch, before + tokens, dtype=torch.long)
        caches = [LayerCache(number, *heads_of(attention)[1:]) for number, attention in attentions(model)]
        past = tuple(torch.zeros(batch, c.heads, before, size) for c in caches for size in (c.key, c.value))
        return (Graph(module, (ids, mask, past), signature_of(caches), weights(model), self.limits(model)),)


def signature_of(caches: Sequence[LayerCache]) -> Signature:
    """The signature of `decoder`, from the sizes of its caches."""
    ids = TensorSpec("input_ids", "int64", (BATCH, TOKENS))
    mask = TensorSpec("attention_mask", "int64", (BATCH, TOTAL), 1)
    before = tuple(spec for layer in caches for spec in layer.inputs("past", PAST))
    after = tuple(name for layer in caches for name in layer.names("present"))
    states = tuple((spec.name, name) for spec, name in zip(before, after, strict=True))
    return Signature("decoder", (ids, mask, *before), ("logits", *after), states)


DECODER_ONLY = DecoderOnly()
