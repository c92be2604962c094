"""mBART: norms before blocks; the bare encoder-decoder, and with any head but that of a decoder alone."""

from __future__ import annotations

from torch import nn
from transformers.models.mbart.modeling_mbart import MBartPreTrainedModel

from tprune.families.encoder_decoder import UNITS, has_stacks, rows
from tprune.families.table import Table


def belongs(model: nn.Module) -> bool:
    """Whether it is an mBART."""
    return isinstance(model, MBartPreTrainedModel) and has_stacks(model)


MBART = Table("mbart", belongs, rows, stock=UNITS)
