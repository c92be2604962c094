"""Llama: the bare decoder, and decoders with any head.

Groups of heads that share keys and values, gated hidden units, whole blocks.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from transformers import LlamaForCausalLM, LlamaModel
from transformers.models.llama.modeling_llama import LlamaPreTrainedModel

from tprune.core.sites import DECODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Attention, Projections
from tprune.families.feed_forward import FeedForward
from tprune.families.residual import Residual
from tprune.families.rows import Row, gone
from tprune.families.table import Table


def rows(model: LlamaPreTrainedModel) -> Iterator[Row]:
    """Two rows a layer, and the residual stream where the heads are known."""
    layers = "layers" if isinstance(model, LlamaModel) else "model.layers"
    for number in range(model.config.num_hidden_layers):
        module, mlp = f"{layers}.{number}.self_attn", f"{layers}.{number}.mlp"
        if not gone(model, module):
            attention = model.get_submodule(module)
            heads, kv = (linear.out_features // attention.head_dim for linear in (attention.q_proj, attention.k_proj))
            maps = Projections(f"{module}.q_proj", f"{module}.k_proj", f"{module}.v_proj", f"{module}.o_proj")
            yield Attention(Site(DECODER, number, SELF_ATTENTION), module, maps, heads, kv, rotary=True)
        ups = (f"{mlp}.gate_proj", f"{mlp}.up_proj")
        yield FeedForward(Site(DECODER, number, FEED_FORWARD), mlp, ups, f"{mlp}.down_proj")
    if isinstance(model, LlamaModel | LlamaForCausalLM):
        yield width(model)


def width(model: LlamaPreTrainedModel) -> Residual:
    """The residual stream of the bare decoder, or of a language model."""
    root, head = ("", ()) if isinstance(model, LlamaModel) else ("model.", ("lm_head",))
    layers = [f"{root}layers.{number}" for number in range(model.config.num_hidden_layers)]
    before = ("input_layernorm", "post_attention_layernorm")
    norms = (*(f"{layer}.{norm}" for layer in layers for norm in before), f"{root}norm")
    writers = tuple(f"{layer}.{name}" for layer in layers for name in ("self_attn.o_proj", "mlp.down_proj"))
    maps = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")
    readers = (*(f"{layer}.{name}" for layer in layers for name in maps), *head)
    return Residual((f"{root}embed_tokens",), norms, writers, readers, rms=True)


def belongs(model: nn.Module) -> bool:
    """Whether it is a Llama."""
    return isinstance(model, LlamaPreTrainedModel)


LLAMA = Table("llama", belongs, rows, tolerance=1e-6)  # RMS norms are computed in single precision
