"""Attention in the dialects that runtimes choose from: one operator of ONNX, its parts written out, or torch's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.onnx import ops

from tprune.core.graph import Dialect

OPSET = 23  # the first with an operator for attention
MASKED = -1e9  # added to the scores of padding; exp() of it is exactly 0 in float32
Mix = Callable[..., tuple[Tensor, ...]]


def onnx23(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *past: Tensor) -> tuple[Tensor, ...]:
    """One operator of ONNX; see `MIXES`."""
    if not torch.compiler.is_exporting():
        return ops.attention(query, key, value, mask, *past, scale=1.0)[:3]
    # while tracing, torch's own `attention` takes values to be as wide as queries
    shapes = [[*query.shape[:3], value.shape[3]]]
    for fresh, before in zip((key, value), past, strict=False):
        shapes.append([*fresh.shape[:2], before.shape[2] + fresh.shape[2], fresh.shape[3]])
    inputs, types = [query, key, value, mask, *past], [query.dtype] * len(shapes)
    return tuple(
        ops.symbolic_multi_out("Attention", inputs, {"scale": 1.0}, dtypes=types, shapes=shapes, version=OPSET)
    )


def masked(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *past: Tensor, cap: float | None = None
) -> tuple[Tensor, ...]:
    """Products, limited to `cap` where it is given, an added mask and a softmax; see `MIXES`."""
    grown = _grown(key, value, *past)
    keys, values = (_repeated(each, query.shape[1]) for each in grown)
    scores = capped(query @ keys.transpose(2, 3), cap)
    scores = scores if mask is None else scores + mask
    return scores.softmax(-1) @ values, *(grown if past else ())


def capped(x: Tensor, cap: float | None) -> Tensor:
    """Values that approach a limit: `cap · tanh(x / cap)`; as they are where there is none."""
    return x if cap is None else (x / cap).tanh() * cap


def plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *past: Tensor) -> tuple[Tensor, ...]:
    """torch's `scaled_dot_product_attention`; see `MIXES`."""
    grown = _grown(key, value, *past)
    keys, values = (_repeated(each, query.shape[1]) for each in grown)
    found = nn.functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=1.0)
    return found, *(grown if past else ())


def by_heads(x: Tensor, heads: int) -> Tensor:
    """`[B, T, h*d]` to `[B, h, T, d]`."""
    return x.view(x.shape[0], x.shape[1], heads, x.shape[2] // heads).transpose(1, 2)


def _grown(key: Tensor, value: Tensor, *past: Tensor) -> tuple[Tensor, Tensor]:
    if not past:
        return key, value
    return torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)


def _repeated(x: Tensor, heads: int) -> Tensor:
    """Keys or values once for each query head that shares them."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], 1)


MIXES: Mapping[Dialect, Mix] = {"onnx23": onnx23, "masked": masked, "plain": plain}
"""Attention by dialect, of already scaled queries `[B, h, T, d]`, keys and values `[B, k, T, d]` with h a multiple of
k, and a mask
that is added to the scores (or none). With past keys and values also gives the grown ones."""
