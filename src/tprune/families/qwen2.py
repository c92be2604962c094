"""Qwen2: the modules of Llama, with biases of queries, keys and values."""

from __future__ import annotations

from transformers.models.qwen2.modeling_qwen2 import Qwen2PreTrainedModel

from tprune.families.decoder import Layout, table

QWEN2 = table("qwen2", Qwen2PreTrainedModel, Layout())
