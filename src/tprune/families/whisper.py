"""Whisper: speech to text; the bare encoder-decoder, that which writes, and the encoder that classifies.

Norms before blocks. The code of its attentions views queries, keys and values by one number of heads and of dimensions,
so nothing is cut inside heads. What the first convolution makes of sound is left alone; the second writes the residual
stream.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from transformers import PreTrainedModel
from transformers.models.whisper.modeling_whisper import WhisperPreTrainedModel

from tprune.core.sites import ENCODER
from tprune.families.encoder_decoder import UNITS, stacks_of
from tprune.families.encoder_decoder import rows as rows_of
from tprune.families.rows import Row
from tprune.families.table import Table


def belongs(model: nn.Module) -> bool:
    """Whether it is a Whisper."""
    return isinstance(model, WhisperPreTrainedModel) and ENCODER in stacks_of(model)


def rows(model: PreTrainedModel) -> Iterator[Row]:
    """All attentions, all feed-forward blocks, and the residual stream."""
    return rows_of(model, even=True)


WHISPER = Table("whisper", belongs, rows, stock=UNITS)
