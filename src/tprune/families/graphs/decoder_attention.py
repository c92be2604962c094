"""How attentions of decoders make queries, keys and values of the residual, whatever pruning has left of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tprune.families.graphs.attention import by_heads

Projected = tuple[Tensor, Tensor, Tensor]  # queries (scaled), keys and values `[B, h, T, d]`, before they are rotated


class HeadSizes(NamedTuple):
    """Query heads, the key-value heads that they share, and their dimensions."""

    query: int
    kv: int
    qk: int
    v: int


@dataclass(frozen=True)
class AttentionMaps:
    """The linear maps of a class of attentions.

    Attributes:
        output: the name of the output map.
        even: the sizes of an attention, read from its weights, where all heads have those of the dense model.
        projected: the residual `[B, T, D]` to queries, keys and values.
    """

    output: str
    even: Callable[[Any], HeadSizes]
    projected: Callable[[Any, HeadSizes, Tensor], Projected]

    def sizes(self, attention: Any) -> HeadSizes:
        """The sizes of an attention, even or not."""
        uneven = getattr(attention, "uneven", None)
        return self.even(attention) if uneven is None else HeadSizes(*uneven)


def _separate_sizes(attention: Any) -> HeadSizes:
    dim = attention.head_dim
    kv = attention.k_proj.out_features // dim
    return HeadSizes(attention.q_proj.out_features // dim, kv, dim, attention.v_proj.out_features // kv)


def _separate(attention: Any, sizes: HeadSizes, x: Tensor) -> Projected:
    query = by_heads(attention.q_proj(x) * attention.scaling, sizes.query)
    return query, by_heads(attention.k_proj(x), sizes.kv), by_heads(attention.v_proj(x), sizes.kv)


def _normed(attention: Any, sizes: HeadSizes, x: Tensor) -> Projected:
    query = attention.q_norm(by_heads(attention.q_proj(x), sizes.query)) * attention.scaling
    key = attention.k_norm(by_heads(attention.k_proj(x), sizes.kv))
    return query, key, by_heads(attention.v_proj(x), sizes.kv)


def _packed_sizes(attention: Any) -> HeadSizes:
    dim = attention.head_dim
    query = attention.o_proj.in_features // dim
    return HeadSizes(query, (attention.qkv_proj.out_features // dim - query) // 2, dim, dim)


def _packed(attention: Any, sizes: HeadSizes, x: Tensor) -> Projected:
    widths = (sizes.query * sizes.qk, sizes.kv * sizes.qk, sizes.kv * sizes.v)
    query, key, value = attention.qkv_proj(x).split(widths, -1)
    return by_heads(query * attention.scaling, sizes.query), by_heads(key, sizes.kv), by_heads(value, sizes.kv)


def _interleaved_sizes(attention: Any) -> HeadSizes:
    dim = attention.head_size
    heads = attention.dense.in_features // dim
    return HeadSizes(heads, heads, dim, dim)


def _interleaved(attention: Any, sizes: HeadSizes, x: Tensor) -> Projected:
    query, key, value = by_heads(attention.query_key_value(x), sizes.query).chunk(3, -1)
    return query * attention.scaling, key, value


SEPARATE = AttentionMaps("o_proj", _separate_sizes, _separate)
NORMED = AttentionMaps("o_proj", _separate_sizes, _normed)  # queries and keys of each head, before the scaling
PACKED = AttentionMaps("o_proj", _packed_sizes, _packed)  # one map: all queries, all keys, all values
INTERLEAVED = AttentionMaps("dense", _interleaved_sizes, _interleaved)  # one map: the three of a head side by side


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys `[B, h, T, d]`, whose first dimensions are turned by their positions' angles `[T, r/2]`.

    Of the r dimensions that are turned, i and i + r/2 go together.
    """
    turned, rest = 2 * cos.shape[-1], x.shape[-1] - 2 * cos.shape[-1]
    a, b = (x if not rest else x[..., :turned]).chunk(2, -1)
    parts = [a * cos - b * sin, b * cos + a * sin]
    return torch.cat(parts if not rest else [*parts, x[..., turned:]], -1)
