"""Gemma 2: as Gemma, with norms of what a block adds to the residual stream, too.

Its logits of attention are limited, which the attention function `sdpa` cannot do; transformers refuses it.
"""

from __future__ import annotations

from dataclasses import replace

from transformers.models.gemma2.modeling_gemma2 import Gemma2PreTrainedModel

from tprune.families.decoder import Layout, table
from tprune.families.gemma import scale

NORMS = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")

GEMMA2 = replace(
    table("gemma2", Gemma2PreTrainedModel, Layout(NORMS, offset=1)),
    computed=scale,
    stock={},
    tolerance=5e-5,  # norms of what blocks add enlarge the rounding of single precision (seen: 1.7e-5, in double 5e-14)
)
