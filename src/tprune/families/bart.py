"""BART: the bare encoder-decoder, and with any head but that of a decoder alone."""

from __future__ import annotations

from torch import nn
from transformers.models.bart.modeling_bart import BartPreTrainedModel

from tprune.families.encoder_decoder import UNITS, has_stacks, rows
from tprune.families.table import Table


def belongs(model: nn.Module) -> bool:
    """Whether it is a BART."""
    return isinstance(model, BartPreTrainedModel) and has_stacks(model)


BART = Table("bart", belongs, rows, stock=UNITS)
