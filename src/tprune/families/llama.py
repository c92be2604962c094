"""Llama, and SmolLM: the bare decoder, and decoders with any head.

Groups of heads that share keys and values, query heads inside a group, gated hidden units, whole blocks. Queries and
keys are rotated in pairs of dimensions that all layers share, and values are viewed as wide as queries: nothing is cut
inside a head.
"""

from __future__ import annotations

from collections.abc import Iterator

from transformers.models.llama.modeling_llama import LlamaPreTrainedModel

from tprune.families.decoder import Layout, table
from tprune.families.decoder import rows as rows_of
from tprune.families.residual import Residual
from tprune.families.rows import Row

LAYOUT = Layout()


def rows(model: LlamaPreTrainedModel) -> Iterator[Row]:
    """Two rows a layer, and the residual stream where the heads are known."""
    return rows_of(model, LAYOUT)


def width(model: LlamaPreTrainedModel) -> Residual:
    """The residual stream of a model all of whose heads are known."""
    return next(row for row in rows(model) if isinstance(row, Residual))


LLAMA = table("llama", LlamaPreTrainedModel, LAYOUT)
