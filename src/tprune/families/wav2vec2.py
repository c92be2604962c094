"""wav2vec 2.0: the bare encoder, and with any head.

Its convolutions are left alone. The width of the residual stream cannot be cut: the convolution that makes positions
mixes its dimensions in groups.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2PreTrainedModel

from tprune.core.sites import ENCODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Attention, Projections, Reads
from tprune.families.feed_forward import FeedForward
from tprune.families.rows import Row, gone
from tprune.families.table import Table

READS = Reads(dim="head_dim", heads="num_heads")


def rows(model: Wav2Vec2PreTrainedModel) -> Iterator[Row]:
    """Two rows a layer."""
    root = "wav2vec2." if hasattr(model, "wav2vec2") else ""
    for number in range(model.config.num_hidden_layers):
        layer = f"{root}encoder.layers.{number}"
        module, block = f"{layer}.attention", f"{layer}.feed_forward"
        if not gone(model, module):
            heads = int(model.get_submodule(module).num_heads)
            maps = Projections(*(f"{module}.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")))
            yield Attention(Site(ENCODER, number, SELF_ATTENTION), module, maps, heads, heads, READS)
        ups = (f"{block}.intermediate_dense",)
        yield FeedForward(Site(ENCODER, number, FEED_FORWARD), block, ups, f"{block}.output_dense")


def belongs(model: nn.Module) -> bool:
    """Whether it is a wav2vec 2.0."""
    return isinstance(model, Wav2Vec2PreTrainedModel)


WAV2VEC2 = Table("wav2vec2", belongs, rows, stock={ENCODER: "intermediate_size"})
