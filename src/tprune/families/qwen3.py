"""Qwen3: the modules of Llama, with norms of queries and keys, which all heads share."""

from __future__ import annotations

from transformers.models.qwen3.modeling_qwen3 import Qwen3PreTrainedModel

from tprune.families.decoder import Layout, table

QWEN3 = table("qwen3", Qwen3PreTrainedModel, Layout(inside=("q_norm", "k_norm")))
