"""The graph of an exported Llama, or of a decoder like it, as plain torch over the model's own submodules.

It reads a whole text, and one token further.

Pre-norm layers, `x = x + sublayer(norm(x))`, whose query heads share keys and values in groups. Sizes are read from the
weights, so pruned shapes (fewer groups of heads, no attention, no feed-forward, a narrower residual) need no case of
their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from transformers import (
    GemmaForCausalLM,
    LlamaForCausalLM,
    MistralForCausalLM,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
)

from tprune.core.caches import LayerCache
from tprune.core.graph import BATCH, PAST, TOKENS, TOTAL, Dialect, Signature, TensorSpec
from tprune.core.task import Batch, Task
from tprune.families.graphs.attention import MASKED, MIXES
from tprune.families.graphs.graph import Graph, weights
from tprune.support.errors import InputError

CLASSES = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, GemmaForCausalLM)
STATIC = ("default", "linear", "llama3", "yarn")  # rotations whose angles depend on the position alone


class Heads(NamedTuple):
    """Query heads, the key-value heads that they share, and their dimensions."""

    query: int
    kv: int
    qk: int
    v: int


def heads_of(attention: Any) -> Heads:
    """The sizes of an attention, whatever pruning has left of it."""
    if (uneven := getattr(attention, "uneven", None)) is not None:
        return Heads(*uneven)
    dim = attention.head_dim
    kv = attention.k_proj.out_features // dim
    return Heads(attention.q_proj.out_features // dim, kv, dim, attention.v_proj.out_features // kv)


def attentions(model: Any) -> list[tuple[int, Any]]:
    """Number and module of every attention that is left."""
    return [(i, x.self_attn) for i, x in enumerate(model.model.layers) if not getattr(x.self_attn, "removed", False)]


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


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys `[B, h, T, d]`, whose dimensions i and i + d/2 go together, turned by their positions' angles."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Look(nn.Module):
    """One attention: what it adds to the residual, and the grown keys and values."""

    def __init__(self, attention: Any, dialect: Dialect) -> None:
        super().__init__()
        self.attention, self.heads, self.mix = attention, heads_of(attention), MIXES[dialect]

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, ...]:
        """`x` `[B, T, D]`, `mask` `[B, 1, T, P + T]`, past `key` and `value` `[B, k, P, d]`."""
        own, sizes = self.attention, self.heads
        if hasattr(own, "q_norm"):  # of each head, before the scaling
            queries = own.q_norm(self._split(own.q_proj(x), sizes.query)) * own.scaling
            keys = own.k_norm(self._split(own.k_proj(x), sizes.kv))
        else:
            queries, keys = self._split(own.q_proj(x) * own.scaling, sizes.query), self._split(own.k_proj(x), sizes.kv)
        values = self._split(own.v_proj(x), sizes.kv)
        mixed, *grown = self.mix(rotated(queries, *turn), rotated(keys, *turn), values, mask, key, value)
        return own.o_proj(mixed.transpose(1, 2).flatten(2)), *grown

    @staticmethod
    def _split(x: Tensor, heads: int) -> Tensor:
        return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


class CachedDecoder(nn.Module):
    """`T` tokens further, after `P` before them: logits `[B, T, V]` and the grown caches.

    `input_ids` `[B, T]`, `attention_mask` `[B, P + T]` (0 where a token is padding), `past` keys and values in turn,
    each `[B, k, P, d]`. With P = 0 it reads a whole text, with T = 1 it takes one step.
    """

    def __init__(self, model: Any, dialect: Dialect = "onnx23") -> None:
        super().__init__()
        self.model, self.angles = model, Angles(model.model.rotary_emb)
        self.looks = nn.ModuleDict({str(number): Look(module, dialect) for number, module in attentions(model)})

    def forward(self, input_ids: Tensor, attention_mask: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """See the class."""
        stack, tokens, total = self.model.model, input_ids.shape[1], attention_mask.shape[1]
        places = torch.arange(total)
        positions = places[total - tokens :]
        turn, x, before = self.angles(positions), stack.embed_tokens(input_ids), iter(past)
        seen = (places[None, :] <= positions[:, None])[None, None] & attention_mask[:, None, None, :].bool()
        mask = (~seen).to(x.dtype) * MASKED
        present: list[Tensor] = []
        for number, layer in enumerate(stack.layers):
            normed = layer.input_layernorm(x)
            if str(number) in self.looks:
                out, *grown = self.looks[str(number)](normed, turn, mask, next(before), next(before))
                present += grown
            else:
                out = _left(layer.self_attn, normed)
            x = x + out
            removed = getattr(layer.mlp, "removed", False)
            normed = layer.post_attention_layernorm(x)
            x = x + (_left(layer.mlp, normed) if removed else layer.mlp(normed))
        return (self.model.lm_head(stack.norm(x)), *present)


def _left(block: Any, x: Tensor) -> Tensor | float:
    """What a removed block still adds to the residual: nothing, or the bias of its output map."""
    output = getattr(block, "output", None)
    return 0.0 if output is None else block.get_submodule(output)(x)


@dataclass(frozen=True)
class DecoderOnly:
    """Llama and decoders like it: one graph, `decoder`, that reads whole texts and takes single steps."""

    name: ClassVar[str] = "decoder-only"
    searched: ClassVar[bool] = False
    phases: ClassVar[tuple[str, ...]] = ("prefill", "step")

    def matches(self, model: nn.Module) -> bool:
        """By class; pruned ones are subclasses."""
        return isinstance(model, CLASSES)

    def check(self, model: Any) -> None:
        """Raises `InputError` for rotations that depend on how long the text is, and for attention to a window."""
        kind = getattr(model.model.rotary_emb, "rope_type", "default")
        if kind not in STATIC:
            raise InputError(f"its rotary positions are {kind!r}; expected one of {', '.join(STATIC)}")
        window = getattr(model.config, "sliding_window", None)
        if window is not None and window < model.config.max_position_embeddings:
            raise InputError(f"its attention reads a window of {window} tokens; expected one that reads all before it")

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
