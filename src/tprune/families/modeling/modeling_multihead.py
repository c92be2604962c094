"""`torch.nn.MultiheadAttention` with fewer heads or dimensions, as code that travels beside models that hold one.

Torch's own takes all heads together to be as wide as the inputs. This file needs torch alone; modeling_pruned.py reads
it.
"""

from typing import Any

import torch
from torch import Tensor, nn


class MultiheadAttention(nn.Module):
    """What is left of an attention with one packed map for queries, keys and values, called as torch's is.

    A mask for each head has those of the heads that are left. `_qkv_same_embed_dim` tells the layers of torch to leave
    their fused code alone, which takes the sizes of the dense attention.
    """

    _qkv_same_embed_dim = False

    def __init__(self, dense: Any, heads: int, qk: int, v: int, constant: bool = True) -> None:
        super().__init__()
        self.embed_dim: int = dense.embed_dim
        self.batch_first: bool = dense.batch_first
        self.dropout: float = dense.dropout
        self.scale: float = getattr(dense, "scale", None) or dense.head_dim**-0.5
        self.num_heads, self.qk, self.v = heads, qk, v
        self.removed = not heads
        like: Tensor = next(dense.parameters(), torch.empty(0))
        given: Any = {"dtype": like.dtype, "device": like.device}
        biased = getattr(dense.out_proj, "bias", None) is not None
        rows = heads * (2 * qk + v)
        self.in_proj_weight = nn.Parameter(torch.empty(rows, self.embed_dim, **given)) if heads else None
        self.in_proj_bias = nn.Parameter(torch.empty(rows, **given)) if heads and biased else None
        self.out_proj = nn.Linear(heads * v, self.embed_dim, biased, **given) if heads else nn.Module()
        if not heads and biased and constant:
            self.out_proj.bias = nn.Parameter(torch.empty(self.embed_dim, **given))

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """What is added to the stream, and the weights of the attention if they are asked for; see torch's."""
        if self.removed:
            blank = query.new_zeros(*query.shape[:-1], self.embed_dim)
            return blank + getattr(self.out_proj, "bias", 0), None
        first = self.batch_first or query.ndim == 2
        given = [x if first else x.transpose(0, 1) for x in (query, key, value)]
        batches = [x if x.ndim == 3 else x[None] for x in given]
        mixed, weights = self._mix(batches, _mask(attn_mask, key_padding_mask, self), need_weights)
        out = self.out_proj(mixed)
        out = out[0] if query.ndim == 2 else out if first else out.transpose(0, 1)
        if weights is None:
            return out, None
        weights = weights.mean(1) if average_attn_weights else weights
        return out, weights[0] if query.ndim == 2 else weights

    def _mix(self, given: list[Tensor], mask: Tensor | None, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        """Queries, keys and values, batches first."""
        sizes = [self.num_heads * dim for dim in (self.qk, self.qk, self.v)]
        weight, whole = self.in_proj_weight, self.in_proj_bias
        assert weight is not None
        maps = torch.split(weight, sizes)
        biases = [None] * 3 if whole is None else torch.split(whole, sizes)
        q, k, v = (
            torch.unflatten(nn.functional.linear(x, made, shift), -1, (self.num_heads, -1)).transpose(1, 2)
            for x, made, shift in zip(given, maps, biases, strict=True)
        )
        dropout = self.dropout if self.training else 0.0
        if not need_weights:
            found = nn.functional.scaled_dot_product_attention(q, k, v, mask, dropout, scale=self.scale)
            return found.transpose(1, 2).flatten(2), None
        scores = q @ k.transpose(2, 3) * self.scale
        weights = nn.functional.dropout((scores if mask is None else scores + mask).softmax(-1), dropout, self.training)
        return (weights @ v).transpose(1, 2).flatten(2), weights


def _mask(attn_mask: Tensor | None, key_padding_mask: Tensor | None, attention: MultiheadAttention) -> Tensor | None:
    """Both masks as one that is added to the scores, (batch or 1, heads or 1, queries, keys)."""
    found: Tensor | None = None
    if attn_mask is not None:
        shape = attn_mask.shape
        heads = attention.num_heads
        if attn_mask.ndim == 3 and shape[0] % heads:
            raise ValueError(f"a mask for {shape[0]} heads of a batch; {heads} of each are left")
        found = _added(attn_mask, attention)
        found = found[None, None] if attn_mask.ndim == 2 else found.view(-1, heads, *shape[1:])
    if key_padding_mask is not None:
        padding = _added(key_padding_mask, attention)
        padding = (padding if padding.ndim == 2 else padding[None])[:, None, None]
        found = padding if found is None else found + padding
    return found


def _added(mask: Tensor, attention: MultiheadAttention) -> Tensor:
    dtype = next(attention.parameters()).dtype
    return mask if mask.dtype != torch.bool else torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf)
