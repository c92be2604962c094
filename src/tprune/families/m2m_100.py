"""M2M100 and NLLB: norms before blocks; the bare encoder-decoder, and that which writes.

Positions are sinusoids that the class computes for the dense width and does not save. A model of a narrower width keeps
those of its dimensions, as a buffer; it has positions for as many tokens as its configuration says, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from transformers.models.m2m_100.modeling_m2m_100 import M2M100PreTrainedModel, M2M100SinusoidalPositionalEmbedding

from tprune.core.cuts import Cuts
from tprune.families.encoder_decoder import UNITS, has_stacks, rows
from tprune.families.table import Table


def belongs(model: nn.Module) -> bool:
    """Whether it is an M2M100; NLLB is one."""
    return isinstance(model, M2M100PreTrainedModel) and has_stacks(model)


def positions(model: Any, cuts: Cuts) -> Mapping[str, Tensor]:
    """The tables of positions, where the width is cut."""
    held = (name for name, part in model.named_modules() if isinstance(part, M2M100SinusoidalPositionalEmbedding))
    tables = {f"{name}.weights": model.get_buffer(f"{name}.weights") for name in held}
    return {name: cuts.slice(name, table) for name, table in tables.items() if name in cuts.keep}


M2M100 = Table("m2m_100", belongs, rows, stock=UNITS, computed=positions)
