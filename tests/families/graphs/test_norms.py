"""A norm over a narrower residual is the same as one over what is left of it."""

import torch
from torch import nn

from tprune.families.graphs.norms import RescaledRMSNorm, graph_norm
from tprune.families.modeling.modeling_pruned import NarrowRMSNorm


@torch.no_grad()
def test_a_norm_over_what_is_left() -> None:
    torch.manual_seed(0)
    for offset in (0, 1):
        dense = nn.RMSNorm(9, eps=1e-3)
        narrow = NarrowRMSNorm(dense, offset)
        narrow.weight = nn.Parameter(torch.randn(7))
        found, x = graph_norm(narrow), torch.randn(2, 3, 7)
        assert isinstance(found, RescaledRMSNorm)
        torch.testing.assert_close(found(x), narrow(x), rtol=1e-6, atol=1e-6)
        found.eps *= 10
        assert not torch.allclose(found(x), narrow(x), rtol=1e-4, atol=1e-4)
    assert graph_norm(dense) is dense
