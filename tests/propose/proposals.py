"""Small models of architectures that no family here knows."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "intermediate_size": 20,
    "max_position_embeddings": 30,
}
GROUPED = SIZES | {"num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2}
PATCHES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 8, "patch_size": 4}
FALCON = {"vocab_size": 60, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 6, "multi_query": False}
UNKNOWN: Mapping[str, Callable[[], Any]] = {
    "mpnet": lambda: hf.MPNetForMaskedLM(hf.MPNetConfig(**SIZES)),
    "starcoder2": lambda: hf.Starcoder2ForCausalLM(hf.Starcoder2Config(**GROUPED)),
    "dinov2": lambda: hf.Dinov2ForImageClassification(hf.Dinov2Config(**PATCHES, mlp_ratio=2)),
    "falcon": lambda: hf.FalconForCausalLM(hf.FalconConfig(**FALCON, bos_token_id=1, eos_token_id=2)),
    "cohere": lambda: hf.CohereForCausalLM(hf.CohereConfig(**GROUPED, pad_token_id=0)),
    "olmo": lambda: hf.OlmoForCausalLM(hf.OlmoConfig(**GROUPED | {"pad_token_id": 0})),
    "blenderbot": lambda: hf.BlenderbotForConditionalGeneration(
        hf.BlenderbotConfig(
            vocab_size=60,
            d_model=24,
            encoder_layers=2,
            decoder_layers=1,
            encoder_ffn_dim=12,
            decoder_ffn_dim=20,
            encoder_attention_heads=4,
            decoder_attention_heads=2,
            max_position_embeddings=30,
            decoder_start_token_id=2,
        )
    ),
}


def small(name: str) -> Any:
    """A model of an unknown architecture."""
    torch.manual_seed(0)
    return UNKNOWN[name]().eval()


class Layer(nn.Module):
    """A layer of nobody's: an attention with one map for queries and keys and values, and a gated block."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.head_dim = 2, 4
        self.before, self.qkv, self.out = nn.LayerNorm(6), nn.Linear(6, 24), nn.Linear(8, 6)
        self.after, self.gate, self.up, self.down = (
            nn.LayerNorm(6),
            nn.Linear(6, 10),
            nn.Linear(6, 10),
            nn.Linear(10, 6),
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.before(x)).unflatten(-1, (3, self.num_heads, self.head_dim)).unbind(-3)
        q, k, v = (part.transpose(-2, -3) for part in parts)
        mixed = (q @ k.transpose(-1, -2) / 2).softmax(-1) @ v
        x = x + self.out(mixed.transpose(-2, -3).flatten(-2))
        y = self.after(x)
        return x + self.down(nn.functional.silu(self.gate(y)) * self.up(y))


class Stack(nn.Module):
    """Two such layers, and a classifier of the first position."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.layers = nn.Embedding(30, 6), nn.ModuleList([Layer(), Layer()])
        self.norm, self.head = nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.head(self.norm(x)[:, 0])
        return out
