"""Pegasus: norms before blocks, computed positions that are saved; the bare encoder-decoder, and that which writes."""

from __future__ import annotations

from torch import nn
from transformers.models.pegasus.modeling_pegasus import PegasusPreTrainedModel

from tprune.families.encoder_decoder import UNITS, has_stacks, rows
from tprune.families.table import Table


def belongs(model: nn.Module) -> bool:
    """Whether it is a Pegasus."""
    return isinstance(model, PegasusPreTrainedModel) and has_stacks(model)


PEGASUS = Table("pegasus", belongs, rows, stock=UNITS)
