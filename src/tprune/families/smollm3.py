"""SmolLM3: the modules of Llama, some of whose layers rotate nothing. SmolLM and SmolLM2 are of the family of Llama."""

from __future__ import annotations

from transformers.models.smollm3.modeling_smollm3 import SmolLM3PreTrainedModel

from tprune.families.decoder import Layout, table

SMOLLM3 = table("smollm3", SmolLM3PreTrainedModel, Layout())
