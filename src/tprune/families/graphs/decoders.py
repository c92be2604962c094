"""A decoder as its graph sees it, whatever its class calls its modules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import (
    Gemma2ForCausalLM,
    GemmaForCausalLM,
    GPTNeoXForCausalLM,
    LlamaForCausalLM,
    MistralForCausalLM,
    Phi3ForCausalLM,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
)

LIKE_LLAMA = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, GemmaForCausalLM)
CLASSES = (*LIKE_LLAMA, Phi3ForCausalLM, Gemma2ForCausalLM, GPTNeoXForCausalLM)
Parts = tuple[Tensor, Tensor, Tensor]  # queries, keys and values `[B, h, T, d]`, before they are rotated


class Heads(NamedTuple):
    """Query heads, the key-value heads that they share, and their dimensions."""

    query: int
    kv: int
    qk: int
    v: int


@dataclass(frozen=True)
class Layer:
    """A layer.

    Attributes:
        attention: the module; it has `removed` where nothing is left.
        output: the name of its output map.
        mlp: the module of the feed-forward block.
        before: norms of what attention and feed-forward block read.
        after: norms of what they add, where there are some.
        window: how many tokens its attention reads, the own one among them; None for all.
        beside: whether both blocks read the same stream, and not one what the other adds.
    """

    attention: Any
    output: str
    mlp: Any
    before: tuple[nn.Module, nn.Module]
    after: tuple[nn.Module, nn.Module] | None
    window: int | None
    beside: bool


@dataclass(frozen=True)
class Decoder:
    """A whole model.

    Attributes:
        words: the embedding of tokens.
        rotary: the module of rotations.
        layers: in order.
        norm: of what the last layer gives.
        cap: that logits are limited to; None for no limit.
        score_cap: likewise for the scores of attentions.
    """

    words: nn.Module
    rotary: Any
    layers: tuple[Layer, ...]
    norm: nn.Module
    cap: float | None = None
    score_cap: float | None = None


def decoder_of(model: Any) -> Decoder:
    """The parts of a model of one of `CLASSES`."""
    if isinstance(model, GPTNeoXForCausalLM):
        stack: Any = model.gpt_neox
        layers = tuple(_of_neox(layer) for layer in stack.layers)
        return Decoder(stack.embed_in, stack.rotary_emb, layers, stack.final_layer_norm)
    stack, config = model.model, model.config
    layers = tuple(_like_llama(layer, _window(config, number)) for number, layer in enumerate(stack.layers))
    caps = (getattr(config, name, None) for name in ("final_logit_softcapping", "attn_logit_softcapping"))
    return Decoder(stack.embed_tokens, stack.rotary_emb, layers, stack.norm, *caps)


def _window(config: Any, number: int) -> int | None:
    """What the attention of a layer reads."""
    kinds = getattr(config, "layer_types", None)
    window: int | None = getattr(config, "sliding_window", None)
    return window if kinds is None or kinds[number] == "sliding_attention" else None


def _like_llama(layer: Any, window: int | None) -> Layer:
    before, after = (layer.input_layernorm, layer.post_attention_layernorm), None
    if hasattr(layer, "pre_feedforward_layernorm"):
        after = (layer.post_attention_layernorm, layer.post_feedforward_layernorm)
        before = (layer.input_layernorm, layer.pre_feedforward_layernorm)
    return Layer(layer.self_attn, "o_proj", layer.mlp, before, after, window, False)


def _of_neox(layer: Any) -> Layer:
    before = (layer.input_layernorm, layer.post_attention_layernorm)
    return Layer(layer.attention, "dense", layer.mlp, before, None, None, bool(layer.use_parallel_residual))


def heads_of(attention: Any) -> Heads:
    """The sizes of an attention, whatever pruning has left of it."""
    if (uneven := getattr(attention, "uneven", None)) is not None:
        return Heads(*uneven)
    if hasattr(attention, "query_key_value"):
        heads = attention.dense.in_features // attention.head_size
        return Heads(heads, heads, attention.head_size, attention.head_size)
    dim = attention.head_dim
    if hasattr(attention, "qkv_proj"):
        query = attention.o_proj.in_features // dim
        return Heads(query, (attention.qkv_proj.out_features // dim - query) // 2, dim, dim)
    kv = attention.k_proj.out_features // dim
    return Heads(attention.q_proj.out_features // dim, kv, dim, attention.v_proj.out_features // kv)


def parts_of(attention: Any) -> Callable[[Tensor], Parts]:
    """What makes queries (scaled), keys and values of the stream: three maps, or one."""
    sizes, scaling = heads_of(attention), attention.scaling

    def apart(x: Tensor) -> Parts:
        if hasattr(attention, "q_norm"):  # of each head, before the scaling
            queries = attention.q_norm(_split(attention.q_proj(x), sizes.query)) * scaling
            keys = attention.k_norm(_split(attention.k_proj(x), sizes.kv))
        else:
            queries = _split(attention.q_proj(x) * scaling, sizes.query)
            keys = _split(attention.k_proj(x), sizes.kv)
        return queries, keys, _split(attention.v_proj(x), sizes.kv)

    def one_after_another(x: Tensor) -> Parts:
        widths = (sizes.query * sizes.qk, sizes.kv * sizes.qk, sizes.kv * sizes.v)
        query, key, value = attention.qkv_proj(x).split(widths, -1)
        return _split(query * scaling, sizes.query), _split(key, sizes.kv), _split(value, sizes.kv)

    def side_by_side(x: Tensor) -> Parts:
        query, key, value = _split(attention.query_key_value(x), sizes.query).chunk(3, -1)
        return query * scaling, key, value

    if hasattr(attention, "query_key_value"):
        return side_by_side
    return one_after_another if hasattr(attention, "qkv_proj") else apart


def _split(x: Tensor, heads: int) -> Tensor:
    return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys `[B, h, T, d]`, whose first dimensions are turned by their positions' angles `[T, r/2]`.

    Of the r dimensions that are turned, i and i + r/2 go together.
    """
    turned, rest = 2 * cos.shape[-1], x.shape[-1] - 2 * cos.shape[-1]
    a, b = (x if not rest else x[..., :turned]).chunk(2, -1)
    parts = [a * cos - b * sin, b * cos + a * sin]
    return torch.cat(parts if not rest else [*parts, x[..., turned:]], -1)
