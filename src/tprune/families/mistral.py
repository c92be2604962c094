"""Mistral: the modules of Llama, with attention to a window of tokens where the configuration says so."""

from __future__ import annotations

from transformers.models.mistral.modeling_mistral import MistralPreTrainedModel

from tprune.families.decoder import Layout, table

MISTRAL = table("mistral", MistralPreTrainedModel, Layout())
