"""Phi-3: the modules of Llama, with one map for queries, keys and values, and one for gates and what they open.

Groups of heads that share keys and values, query heads inside a group, gated hidden units, whole blocks.
"""

from __future__ import annotations

from collections.abc import Iterator

from transformers.models.phi3.modeling_phi3 import Phi3PreTrainedModel

from tprune.core.sites import DECODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Reads
from tprune.families.decoder import Layout, layers_of, width
from tprune.families.feed_forward import FeedForward
from tprune.families.fused import APART, FusedAttention
from tprune.families.rows import Row, gone
from tprune.families.table import Table

READS = Reads(heads="config.num_attention_heads", kv="num_key_value_heads", shared="num_key_value_groups")


def rows(model: Phi3PreTrainedModel) -> Iterator[Row]:
    """Two rows a layer, and the residual stream where the heads are known."""
    for number, layer in enumerate(layers_of(model)):
        module, mlp = f"{layer}.self_attn", f"{layer}.mlp"
        if not gone(model, module):
            held = model.get_submodule(module)
            heads, kv = held.o_proj.in_features // held.head_dim, held.num_key_value_heads
            maps, site = (f"{module}.qkv_proj", f"{module}.o_proj"), Site(DECODER, number, SELF_ATTENTION)
            yield FusedAttention(site, module, *maps, heads, APART, READS, kv=kv)
        site = Site(DECODER, number, FEED_FORWARD)
        yield FeedForward(site, mlp, (f"{mlp}.gate_up_proj",), f"{mlp}.down_proj", parts=2)
    writers, readers = ("self_attn.o_proj", "mlp.down_proj"), ("self_attn.qkv_proj", "mlp.gate_up_proj")
    yield from width(model, Layout(), writers, readers)


PHI3 = Table(
    "phi3",
    lambda model: isinstance(model, Phi3PreTrainedModel),
    rows,
    tolerance=1e-6,  # as those of Llama, its norms are computed in single precision
    stock={DECODER: "intermediate_size"},
)
