"""Marian: translation models with computed positions."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import MarianMTModel

from tprune.families.encoder_decoder import UNITS, rows
from tprune.families.positions import rows_of_positions
from tprune.families.table import Table


def belongs(model: nn.Module) -> bool:
    """Whether it is a Marian."""
    return isinstance(model, MarianMTModel)


def settings(model: nn.Module) -> dict[str, Any]:
    """As many positions as the tables have, whatever the configuration says."""
    return {"max_position_embeddings": rows_of_positions(model)}


MARIAN = Table("marian", belongs, rows, stock=UNITS, settings=settings)
