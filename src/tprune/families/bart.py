"""BART with a language model head."""

from __future__ import annotations

from torch import nn
from transformers import BartForConditionalGeneration

from tprune.families.encoder_decoder import UNITS, rows
from tprune.families.table import Table


def belongs(model: nn.Module) -> bool:
    """Whether it is a BART that writes text."""
    return isinstance(model, BartForConditionalGeneration)


BART = Table("bart", belongs, rows, stock=UNITS)
