"""Mixtral: the modules of Llama, with experts in place of feed-forward blocks.

Experts with their rows of the router, which then chooses among the others. The units of all experts are in one tensor,
so a unit is cut from every expert. The loss of `output_router_logits` needs as many experts in every layer as the
configuration says, so it is for models that keep all.
"""

from __future__ import annotations

from collections.abc import Iterator

from transformers.models.mixtral.modeling_mixtral import MixtralPreTrainedModel

from tprune.core.sites import DECODER, FEED_FORWARD, Site
from tprune.families.decoder import Layout, attention, layers_of, width
from tprune.families.experts import Experts, close_experts_
from tprune.families.rows import Row, gone
from tprune.families.table import Table

LAYOUT = Layout()


def rows(model: MixtralPreTrainedModel) -> Iterator[Row]:
    """Two rows a layer, and the residual stream where the heads are known."""
    blocks = []
    for number, layer in enumerate(layers_of(model)):
        module = f"{layer}.mlp"
        if not gone(model, f"{layer}.self_attn"):
            yield attention(model, layer, number, LAYOUT)
        if not gone(model, module):
            router, experts, site = f"{module}.gate", f"{module}.experts", Site(DECODER, number, FEED_FORWARD)
            chosen = model.get_submodule(router).top_k
            blocks.append(Experts(site, module, router, experts, "gate_up_proj", "down_proj", chosen))
    yield from blocks
    others = [view for block in blocks for view in block.width()]
    maps = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    yield from width(model, LAYOUT, ("self_attn.o_proj",), maps, tuple(others))


MIXTRAL = Table(
    "mixtral", lambda model: isinstance(model, MixtralPreTrainedModel), rows, tolerance=1e-6, silence=close_experts_
)
