"""The two graphs of an exported encoder-decoder, as plain torch over the model's own submodules.

They are written over the parts that `tprune.families.graphs.stacks` names, so that classes differ in one file each.
Every size is read from the weights, so pruned shapes (fewer heads, unequal widths of q/k and v, a narrower residual)
need no case of their own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tprune.core.caches import LayerCache, translation_signatures
from tprune.core.graph import Dialect
from tprune.core.task import Batch, Task
from tprune.families.graphs.attention import MASKED, MIXES, by_heads
from tprune.families.graphs.bart_stacks import LIKE_BART
from tprune.families.graphs.graph import Graph, weights
from tprune.families.graphs.norms import RescaledRMSNorm
from tprune.families.graphs.stacks import (
    Anatomy,
    AttentionParts,
    StackParts,
    Stacks,
    cross_attentions,
    fused_maps,
    name_in,
    self_attentions,
)
from tprune.families.graphs.t5_stacks import LIKE_T5
from tprune.families.graphs.whisper_stacks import LIKE_WHISPER
from tprune.support.errors import InputError

READ_TEXT: tuple[Anatomy, ...] = (LIKE_BART, LIKE_T5)
ANATOMIES = (*READ_TEXT, LIKE_WHISPER)
CLASSES = tuple(one for anatomy in READ_TEXT for one in anatomy.classes)
Tensors = Sequence[Tensor]


def stacks_of(model: nn.Module) -> Stacks:
    """The parts of an encoder-decoder that has graphs. Raises `InputError` for another model."""
    found = next((anatomy for anatomy in ANATOMIES if isinstance(model, anatomy.classes)), None)
    if found is None:
        raise InputError(f"a {type(model).__name__} has no graphs of encoder and decoder")
    return found.stacks(model)


def _additive(attention_mask: Tensor, like: Tensor) -> Tensor:
    return (1.0 - attention_mask[:, None, None, :].to(like.dtype)) * MASKED


class Biases:
    """What is added to the scores of self-attentions in one run of a graph: a mask, a bias by distance, or both."""

    def __init__(self, shared: Tensor | None) -> None:
        self._shared = shared
        self._of_heads: dict[tuple[int, ...], Tensor] = {}

    def of(self, attention: AttentionParts) -> Tensor | None:
        """Of the heads that an attention has, `[1 or B, h, T, S]`; None where nothing is added."""
        if self._shared is None or attention.kept is None:
            return self._shared
        if attention.kept not in self._of_heads:  # attentions that keep the same heads gather them once
            kept = torch.tensor(attention.kept)
            self._of_heads[attention.kept] = torch.index_select(self._shared, 1, kept)
        return self._of_heads[attention.kept]


class EncoderLayers(nn.Module):
    """What the encoder's first layer reads to the cross keys and values of every decoder layer that attends to them.

    Each result is `[B, h, S, d]`, keys and values in turn.
    """

    def __init__(self, model: Any, dialect: Dialect = "onnx23") -> None:
        super().__init__()
        self.model, self.mix, stacks = model, MIXES[dialect], stacks_of(model)
        self.stack, self.crossing = stacks.encoder, [attention for _, attention in cross_attentions(stacks.decoder)]
        self.positions, self.distance, self.norms = self.stack.positions, self.stack.distance, own_norms(self.stack)
        self.own = nn.ModuleList(fused_maps(layer.own, *layer.own.maps[:3]) for layer in self.stack.layers)
        self.cross = nn.ModuleList(fused_maps(attention, *attention.maps[1:3]) for attention in self.crossing)

    def crossed(self, x: Tensor, biases: Biases) -> tuple[Tensor, ...]:
        """Of the embedded source `[B, S, D]`."""
        stack = self.stack
        for layer, maps in zip(stack.layers, self.own, strict=True):
            x = stack.with_block(layer.own.norm, x, partial(self._look, layer.own, maps, biases))
            x = stack.with_block(layer.feed_forward.norm, x, layer.feed_forward.adds)
        x = stack.ended(x)
        crossing: list[Tensor] = []
        for attention, maps in zip(self.crossing, self.cross, strict=True):
            crossing += [by_heads(each, attention.heads) for each in maps(x)]
        return tuple(crossing)

    def _look(self, attention: AttentionParts, maps: nn.Module, biases: Biases, x: Tensor) -> Tensor | float:
        if attention.removed:
            return attention.remainder()
        query, key, value = (by_heads(each, attention.heads) for each in maps(x))
        mixed = self.mix(query, key, value, biases.of(attention))[0]
        return attention.output(mixed.transpose(1, 2).flatten(2))


class Encoder(EncoderLayers):
    """Source tokens, `input_ids` and `attention_mask` `[B, S]` int64, to cross keys and values."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        stack, length = self.stack, input_ids.shape[1]
        positions = None if self.positions is None else self.positions.of_texts(input_ids)
        x = stack.embedded(stack.tokens_of(input_ids), positions)
        mask = _additive(attention_mask, x)
        # runtimes want a row for each query
        shared = mask.expand(-1, -1, length, -1) if self.distance is None else mask + self.distance.of_texts(length)
        return self.crossed(x, Biases(shared))


class DecoderStep(nn.Module):
    """One token further: logits `[B, V]` and the grown self-attention caches.

    `input_ids` `[B, 1]`, `position` `[1]` (how many tokens went before), `attention_mask` `[B, S]`, `cross` as the
    encoder gives it, `past` keys and values in turn, each `[B, h, T, d]` with T = `position`. With one token a row
    the residual is `[B, d]`: products take their bias along, and heads need no transposition. With `rows`, only those
    tokens are known, numbered 0, 1, 2, ...
    """

    def __init__(self, model: Any, rows: Sequence[int] = (), dialect: Dialect = "onnx23") -> None:
        super().__init__()
        stacks = stacks_of(model)
        self.model, self.mix, self.stack, self.scale = model, MIXES[dialect], stacks.decoder, stacks.scale
        self.words, self.output, self.bias = _words(stacks, rows)
        self.made_of = {
            "words.weight": (f"model.{name_in(model, self.stack.tokens_of.weight)}",),
            "output": (f"model.{name_in(model, stacks.output)}",),
        }
        self.positions, self.distance, self.norms = self.stack.positions, self.stack.distance, own_norms(self.stack)
        layers = self.stack.layers
        self.own = nn.ModuleList(fused_maps(layer.own, *layer.own.maps[:3]) for layer in layers)
        self.queries = nn.ModuleList(fused_maps(layer.cross, layer.cross.maps.q) for layer in layers if layer.cross)

    def forward(
        self, input_ids: Tensor, position: Tensor, attention_mask: Tensor, cross: Tensors, past: Tensors
    ) -> tuple[Tensor, ...]:
        """See the class."""
        return self.stepped(input_ids, position, attention_mask, cross, past)

    def stepped(
        self, input_ids: Tensor, position: Tensor, attention_mask: Tensor | None, cross: Tensors, past: Tensors
    ) -> tuple[Tensor, ...]:
        """As `forward`; without a mask the whole source counts."""
        stack, ids = self.stack, input_ids[:, 0]
        positions = None if self.positions is None else self.positions.of_step(ids, position)
        x = stack.embedded(self.words(ids), positions)
        mask = None if attention_mask is None else _additive(attention_mask, x)
        biases = Biases(None if self.distance is None else self.distance.of_step(position, past[0].shape[2] + 1))
        crossing, before = iter(cross), iter(past)
        present: list[Tensor] = []
        for layer, own, queries in zip(stack.layers, self.own, self.queries, strict=True):
            assert layer.cross is not None
            look_back = partial(self._look_back, layer.own, own, biases, before, present)
            x = stack.with_block(layer.own.norm, x, look_back)
            x = stack.with_block(layer.cross.norm, x, partial(self._look_across, layer.cross, queries, mask, crossing))
            x = stack.with_block(layer.feed_forward.norm, x, layer.feed_forward.adds)
        x = stack.ended(x)
        logits = nn.functional.linear(x if self.scale == 1 else x * self.scale, self.output, self.bias)
        return (logits, *present)

    @staticmethod
    def _one(x: Tensor, attention: AttentionParts) -> Tensor:
        """`[B, h*d]` of one token to `[B, h, 1, d]`."""
        return x.reshape(x.shape[0], attention.heads, 1, -1)

    def _look_across(
        self, attention: AttentionParts, queries: nn.Module, mask: Tensor | None, crossing: Iterator[Tensor], x: Tensor
    ) -> Tensor | float:
        if attention.removed:
            return attention.remainder()
        query = self._one(queries(x)[0], attention)
        mixed = self.mix(query, next(crossing), next(crossing), mask)[0]
        return attention.output(mixed.flatten(1))

    def _look_back(
        self,
        attention: AttentionParts,
        own: nn.Module,
        biases: Biases,
        before: Iterator[Tensor],
        present: list[Tensor],
        x: Tensor,
    ) -> Tensor | float:
        if attention.removed:
            return attention.remainder()
        query, key, value = (self._one(each, attention) for each in own(x))
        mixed, *grown = self.mix(query, key, value, biases.of(attention), next(before), next(before))
        present += grown
        return attention.output(mixed.flatten(1))


def own_norms(stack: StackParts) -> nn.ModuleList:
    """The norms of a stack that are no modules of the model."""
    of_layers = (part.norm for layer in stack.layers for part in (layer.own, layer.cross, layer.feed_forward) if part)
    return nn.ModuleList(norm for norm in (*of_layers, stack.last) if isinstance(norm, RescaledRMSNorm))


def _words(stacks: Stacks, rows: Sequence[int]) -> tuple[nn.Module, nn.Parameter, Tensor | None]:
    """The decoder's embedding, output matrix and output bias of these tokens."""
    words, output, bias = stacks.decoder.tokens_of, stacks.output, stacks.bias
    if not rows:
        return words, output, bias
    index, tied = torch.tensor(list(rows)), output.data_ptr() == words.weight.data_ptr()
    fewer = copy.deepcopy(words)
    fewer.padding_idx, fewer.num_embeddings = None, len(rows)
    fewer.weight = nn.Parameter(words.weight.detach()[index])
    own = fewer.weight if tied else nn.Parameter(output.detach()[index])
    return fewer, own, None if bias is None else bias[index]


def layer_caches(layers: Sequence[tuple[int, AttentionParts]], tensors: Sequence[Tensor]) -> tuple[LayerCache, ...]:
    """The cache layout of `layers`, read from their keys and values (in turn, `[B, h, T, d]`)."""
    pairs = zip(layers, tensors[::2], tensors[1::2], strict=True)
    return tuple(LayerCache(number, key.shape[1], key.shape[3], value.shape[3]) for (number, _), key, value in pairs)


@dataclass(frozen=True)
class EncoderDecoderSkeleton:
    """Marian, BART, mBART, M2M100, Pegasus and T5: `encoder`, and `decoder`, one step of it.

    The encoder also makes the keys and values of every cross attention.
    """

    name: ClassVar[str] = "encoder-decoder"
    searched: ClassVar[bool] = True
    phases: ClassVar[tuple[str, ...]] = ("encoder", "decoder_step", "sentence")

    def matches(self, model: nn.Module) -> bool:
        """By class; pruned ones are subclasses."""
        return isinstance(model, CLASSES)

    def check(self, model: nn.Module) -> None:
        """Raises `InputError` where nothing of the source reaches the decoder."""
        if not any(True for _ in cross_attentions(stacks_of(model).decoder)):
            raise InputError("every cross attention is removed, so it does not read its source")

    def limits(self, model: nn.Module) -> Mapping[str, int]:
        """Source tokens, and target tokens with the start token."""
        stacks = stacks_of(model)
        return {"source": stacks.encoder.tokens, "past": stacks.decoder.tokens}

    def graphs(
        self, model: Any, task: Task, inputs: Batch, dialect: Dialect, rows: Sequence[int] = ()
    ) -> tuple[Graph, ...]:
        """Both graphs; the decoder knows the tokens `rows` only, or all. See `Skeleton.graphs`."""
        encoder, decoder = Encoder(model, dialect).eval(), DecoderStep(model, rows, dialect).eval()
        # sizes 0 and 1 are treated as constants by torch.export, so the example uses larger ones that all differ
        batch, source, target = 2, 5, 3
        ids, mask = torch.zeros(batch, source, dtype=torch.long), torch.ones(batch, source, dtype=torch.long)
        one, position = torch.zeros(batch, 1, dtype=torch.long), torch.tensor([target])
        stack = decoder.stack
        with torch.no_grad():
            cross_tensors = tuple(x.contiguous() for x in encoder(ids, mask))
            past_tensors = past_of(stack, batch, target)
        cross = layer_caches(list(cross_attentions(stack)), cross_tensors)
        past = layer_caches(list(self_attentions(stack)), past_tensors)
        signatures = translation_signatures(cross, past)
        sizes = (weights(model.get_encoder()), weights(model.get_decoder()))
        examples = (ids, mask), (one, position, mask, cross_tensors, past_tensors)
        parts = zip((encoder, decoder), examples, signatures, sizes, strict=True)
        return tuple(Graph(*each, self.limits(model)) for each in parts)


def past_of(decoder: StackParts, batch: int, length: int) -> tuple[Tensor, ...]:
    """Keys and values of so many tokens of which nothing is known, for a decoder's step."""
    before = torch.zeros(batch, length, decoder.tokens_of.weight.shape[1])
    return tuple(
        by_heads(getattr(attention.module, name)(before), attention.heads).contiguous()
        for _, attention in self_attentions(decoder)
        for name in attention.maps[1:3]
    )


ENCODER_DECODER = EncoderDecoderSkeleton()
