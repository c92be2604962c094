"""The two graphs of an exported translation model, as plain torch over the model's own submodules.

Marian and BART have post-norm layers, `x = LN(x + sublayer(x))`. Every size is read from the weights, so pruned shapes
(fewer heads, unequal widths of q/k and v, a narrower residual) need no case of their own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import BartForConditionalGeneration, MarianMTModel

from tprune.core.caches import LayerCache, translation_signatures
from tprune.core.graph import Dialect
from tprune.core.task import Batch, Task
from tprune.families.graphs.attention import MASKED, MIXES
from tprune.families.graphs.graph import Graph, weights
from tprune.support.errors import InputError

Tensors = Sequence[Tensor]


def removed(module: nn.Module) -> bool:
    """Whether the pruning took this sublayer away."""
    return bool(getattr(module, "removed", False))


def cross_layers(model: Any) -> list[tuple[int, Any]]:
    """Number and module of every cross attention that is left."""
    return [(i, x.encoder_attn) for i, x in enumerate(model.model.decoder.layers) if not removed(x.encoder_attn)]


def self_layers(model: Any) -> list[tuple[int, Any]]:
    """Number and module of every decoder self-attention that is left."""
    return [(i, x.self_attn) for i, x in enumerate(model.model.decoder.layers) if not removed(x.self_attn)]


def _heads(x: Tensor, heads: int) -> Tensor:
    """`[B, T, h*d]` to `[B, h, T, d]`."""
    return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


class Projections(nn.Module):
    """Some of `q_proj`, `k_proj`, `v_proj` of an attention as one product, the queries already scaled.

    At batch 1 an operator costs about as much as its arithmetic; matrices between gathers stay apart. `made_of` says
    what the product is made of, see `tprune.families.graphs.origins.origins`.
    """

    def __init__(self, attention: Any, *names: str) -> None:
        super().__init__()
        self.made_of: dict[str, tuple[str, ...]] = {}
        maps = [getattr(attention, name) for name in names]
        self.maps = nn.ModuleList(maps)
        self.scales = [attention.scaling if name == "q_proj" else 1.0 for name in names]
        self.fused: nn.Linear | None = None
        if all(isinstance(one, nn.Linear) for one in maps):
            self.sizes = [one.out_features for one in maps]
            self.fused = nn.Linear(maps[0].in_features, sum(self.sizes))
            for name in ("weight", "bias"):
                parts = [getattr(one, name).detach() * scale for one, scale in zip(maps, self.scales, strict=True)]
                setattr(self.fused, name, nn.Parameter(torch.cat(parts)))
                self.made_of[f"fused.{name}"] = tuple(f"maps.{i}.{name}" for i in range(len(maps)))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """One tensor a name."""
        if self.fused is None:
            return tuple(one(x) * scale for one, scale in zip(self.maps, self.scales, strict=True))
        parts: tuple[Tensor, ...] = self.fused(x).split(self.sizes, -1)
        return parts


def _left(output: Any, x: Tensor) -> Tensor:
    """What a removed block still adds to the residual: a scalar zero, or the bias of its output map."""
    bias: Tensor | None = getattr(output, "bias", None)
    return x.new_zeros(()) if bias is None else bias


def _feed_forward(layer: Any, x: Tensor) -> Tensor:
    gone = removed(layer.fc1)
    inner = _left(layer.fc2, x) if gone else layer.fc2(layer.activation_fn(layer.fc1(x)))
    out: Tensor = layer.final_layer_norm(x + inner)
    return out


def _embed(stack: Any, words: Tensor, positions: Tensor) -> Tensor:
    # BART's embedding multiplies by its scale itself and keeps none on the stack
    x: Tensor = words * getattr(stack, "embed_scale", 1.0) + positions
    norm = getattr(stack, "layernorm_embedding", None)
    return x if norm is None else norm(x)


def _additive(attention_mask: Tensor, like: Tensor) -> Tensor:
    return (1.0 - attention_mask[:, None, None, :].to(like.dtype)) * MASKED


class Encoder(nn.Module):
    """Source tokens to the cross keys and values of every decoder layer that attends to them.

    `input_ids` and `attention_mask` are `[B, S]` int64; each result is `[B, h, S, d]`, keys and values in turn.
    """

    def __init__(self, model: Any, dialect: Dialect = "onnx23") -> None:
        super().__init__()
        self.model, self.mix = model, MIXES[dialect]
        own = [layer.self_attn for layer in model.model.encoder.layers]
        self.own = nn.ModuleList(_unless_removed(attention, "q_proj", "k_proj", "v_proj") for attention in own)
        self.cross = nn.ModuleList(Projections(attention, "k_proj", "v_proj") for _, attention in cross_layers(model))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        stack = self.model.model.encoder
        offset = getattr(stack.embed_positions, "offset", 0)
        place = stack.embed_positions.weight[offset : offset + input_ids.shape[1]]
        x = _embed(stack, stack.embed_tokens(input_ids), place)
        mask = _additive(attention_mask, x).expand(-1, -1, x.shape[1], -1)  # runtimes want a row for each query
        for layer, projections in zip(stack.layers, self.own, strict=True):
            attention = layer.self_attn
            if removed(attention):
                x = layer.self_attn_layer_norm(x + _left(getattr(attention, "out_proj", None), x))
            else:
                query, key, value = (_heads(each, attention.num_heads) for each in projections(x))
                mixed = self.mix(query, key, value, mask)[0].transpose(1, 2).flatten(2)
                x = layer.self_attn_layer_norm(x + attention.out_proj(mixed))
            x = _feed_forward(layer, x)
        crossing: list[Tensor] = []
        for (_, attention), projections in zip(cross_layers(self.model), self.cross, strict=True):
            crossing += [_heads(each, attention.num_heads) for each in projections(x)]
        return tuple(crossing)


class DecoderStep(nn.Module):
    """One token further: logits `[B, V]` and the grown self-attention caches.

    `input_ids` `[B, 1]`, `position` `[1]` (how many tokens went before), `attention_mask` `[B, S]`, `cross` as the
    encoder gives it, `past` keys and values in turn, each `[B, h, T, d]` with T = `position`. With one token a row
    the residual is `[B, d]`: products take their bias along, and heads need no transposition. With `rows`, only those
    tokens are known, numbered 0, 1, 2, ...
    """

    def __init__(self, model: Any, rows: Sequence[int] = (), dialect: Dialect = "onnx23") -> None:
        super().__init__()
        self.model, self.mix = model, MIXES[dialect]
        self.words, self.output, self.bias = _words(model, rows)
        self.made_of = {
            "words.weight": ("model.model.decoder.embed_tokens.weight",),
            "output": ("model.lm_head.weight",),
        }
        layers = model.model.decoder.layers
        self.own = nn.ModuleList(_unless_removed(layer.self_attn, "q_proj", "k_proj", "v_proj") for layer in layers)
        self.queries = nn.ModuleList(_unless_removed(layer.encoder_attn, "q_proj") for layer in layers)

    def forward(
        self, input_ids: Tensor, position: Tensor, attention_mask: Tensor, cross: Tensors, past: Tensors
    ) -> tuple[Tensor, ...]:
        """See the class."""
        stack = self.model.model.decoder
        offset = getattr(stack.embed_positions, "offset", 0)
        place = torch.index_select(stack.embed_positions.weight, 0, position + offset)
        x = _embed(stack, self.words(input_ids[:, 0]), place)
        mask = _additive(attention_mask, x)
        crossing, before = iter(cross), iter(past)
        present: list[Tensor] = []
        for layer, own, queries in zip(stack.layers, self.own, self.queries, strict=True):
            x = layer.self_attn_layer_norm(x + self._look_back(layer.self_attn, own, x, before, present))
            attention = layer.encoder_attn
            if removed(attention):
                x = layer.encoder_attn_layer_norm(x + _left(getattr(attention, "out_proj", None), x))
            else:
                query = self._one(queries(x)[0], attention)
                mixed = self.mix(query, next(crossing), next(crossing), mask)[0]
                x = layer.encoder_attn_layer_norm(x + attention.out_proj(mixed.flatten(1)))
            x = _feed_forward(layer, x)
        logits = nn.functional.linear(x, self.output, self.bias)
        return (logits, *present)

    @staticmethod
    def _one(x: Tensor, attention: Any) -> Tensor:
        """`[B, h*d]` of one token to `[B, h, 1, d]`."""
        return x.reshape(x.shape[0], attention.num_heads, 1, -1)

    def _look_back(
        self, attention: Any, own: Any, x: Tensor, before: Iterator[Tensor], present: list[Tensor]
    ) -> Tensor:
        if removed(attention):
            return _left(getattr(attention, "out_proj", None), x)
        query, key, value = (self._one(each, attention) for each in own(x))
        mixed, *grown = self.mix(query, key, value, None, next(before), next(before))
        present += grown
        out: Tensor = attention.out_proj(mixed.flatten(1))
        return out


def _words(model: Any, rows: Sequence[int]) -> tuple[nn.Module, nn.Parameter, Tensor]:
    """The decoder's embedding, output matrix and output bias of these tokens."""
    words, output, bias = model.model.decoder.embed_tokens, model.lm_head.weight, model.final_logits_bias[0]
    if not rows:
        return words, output, bias
    index, tied = torch.tensor(list(rows)), output.data_ptr() == words.weight.data_ptr()
    fewer = copy.deepcopy(words)
    fewer.padding_idx, fewer.num_embeddings = None, len(rows)
    fewer.weight = nn.Parameter(words.weight.detach()[index])
    return fewer, fewer.weight if tied else nn.Parameter(output.detach()[index]), bias[index]


def _unless_removed(attention: Any, *names: str) -> nn.Module:
    return nn.Identity() if removed(attention) else Projections(attention, *names)


def layer_caches(layers: Sequence[tuple[int, Any]], tensors: Sequence[Tensor]) -> tuple[LayerCache, ...]:
    """The cache layout of `layers`, read from their keys and values (in turn, `[B, h, T, d]`)."""
    pairs = zip(layers, tensors[::2], tensors[1::2], strict=True)
    return tuple(LayerCache(number, key.shape[1], key.shape[3], value.shape[3]) for (number, _), key, value in pairs)


def positions_of(stack: Any) -> int:
    """How many tokens an encoder or decoder has positions for."""
    return int(stack.embed_positions.weight.shape[0]) - int(getattr(stack.embed_positions, "offset", 0))


@dataclass(frozen=True)
class EncoderDecoderSkeleton:
    """Marian and BART: `encoder`, and `decoder`, one step of it.

    The encoder also makes the keys and values of every cross attention.
    """

    name: ClassVar[str] = "encoder-decoder"
    searched: ClassVar[bool] = True
    phases: ClassVar[tuple[str, ...]] = ("encoder", "decoder_step", "sentence")

    def matches(self, model: nn.Module) -> bool:
        """By class; pruned ones are subclasses."""
        return isinstance(model, MarianMTModel | BartForConditionalGeneration)

    def check(self, model: nn.Module) -> None:
        """Raises `InputError` where nothing of the source reaches the decoder."""
        if not cross_layers(model):
            raise InputError("every cross attention is removed, so it does not read its source")

    def limits(self, model: Any) -> Mapping[str, int]:
        """Source tokens, and target tokens with the start token."""
        return {"source": positions_of(model.model.encoder), "past": positions_of(model.model.decoder)}

    def graphs(
        self, model: Any, task: Task, inputs: Batch, dialect: Dialect, rows: Sequence[int] = ()
    ) -> tuple[Graph, ...]:
        """Both graphs; the decoder knows the tokens `rows` only, or all. See `Skeleton.graphs`."""
        encoder, decoder = Encoder(model, dialect).eval(), DecoderStep(model, rows, dialect).eval()
        # sizes 0 and 1 are treated as constants by torch.export, so the example uses larger ones that all differ
        batch, source, target = 2, 5, 3
        ids, mask = torch.zeros(batch, source, dtype=torch.long), torch.ones(batch, source, dtype=torch.long)
        one, position = torch.zeros(batch, 1, dtype=torch.long), torch.tensor([target])
        with torch.no_grad():
            cross_tensors = tuple(x.contiguous() for x in encoder(ids, mask))
            past_tensors = _past_of(model, batch, target)
        cross, past = layer_caches(cross_layers(model), cross_tensors), layer_caches(self_layers(model), past_tensors)
        signatures = translation_signatures(cross, past)
        sizes = (weights(stack) for stack in (model.model.encoder, model.model.decoder))
        examples = (ids, mask), (one, position, mask, cross_tensors, past_tensors)
        parts = zip((encoder, decoder), examples, signatures, sizes, strict=True)
        return tuple(Graph(*each, self.limits(model)) for each in parts)


def _past_of(model: Any, batch: int, target: int) -> tuple[Tensor, ...]:
    before = torch.zeros(batch, target, model.model.decoder.embed_positions.weight.shape[1])
    return tuple(
        _heads(project(before), attention.num_heads).contiguous()
        for _, attention in self_layers(model)
        for project in (attention.k_proj, attention.v_proj)
    )


ENCODER_DECODER = EncoderDecoderSkeleton()
