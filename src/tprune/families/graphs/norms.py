"""Norms as runtimes have an operator for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tprune.families.modeling.modeling_pruned import NarrowRMSNorm


class RescaledRMSNorm(nn.Module):
    """A norm by the root mean square over a narrower residual, as one over what is left of it.

    x / √(Σx²/D + ε) · w = x / √(Σx²/K + ε·D/K) · w·√(D/K), of K dimensions out of D.
    """

    def __init__(self, norm: NarrowRMSNorm) -> None:
        super().__init__()
        more = norm.dense / len(norm.weight)
        self.norm, self.eps, self.made_of = norm, norm.variance_epsilon * more, {"weight": ("norm.weight",)}
        self.weight = nn.Parameter((norm.offset + norm.weight.detach()) * more**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def graph_norm(norm: nn.Module) -> nn.Module:
    """The norm for a graph."""
    return RescaledRMSNorm(norm) if isinstance(norm, NarrowRMSNorm) else norm
