"""Gemma: the modules of Llama, with norms that multiply by 1 + w, and embeddings that are multiplied by a constant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.gemma.modeling_gemma import GemmaPreTrainedModel

from tprune.core.cuts import Cuts
from tprune.families.decoder import Layout, table
from tprune.families.heads import bare_of


def scale(model: PreTrainedModel, cuts: Cuts) -> Mapping[str, Tensor]:
    """What embeddings are multiplied by: √ of the dense width, in the precision in which the model has it.

    Transformers computes it in the precision that it loads the model in, and does not save it.
    """
    name = f"{bare_of(model)}embed_tokens.embed_scale"
    return {name: model.get_buffer(name)}


GEMMA = replace(table("gemma", GemmaPreTrainedModel, Layout(offset=1)), computed=scale, stock={})
