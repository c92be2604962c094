"""stories260K, a trained Llama with grouped queries, from the format of llama2.c."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM


def read_stories(file: Path) -> LlamaForCausalLM:
    """The model of a file of llama2.c, whose rotations are of neighbouring pairs.

    Those of transformers are of a head's two halves.
    """
    dim, hidden, layers, heads, kv, vocabulary, positions = np.fromfile(file, dtype="<i4", count=7).tolist()
    numbers = np.fromfile(file, dtype="<f4", offset=28)
    place = 0

    def take(*shape: int) -> torch.Tensor:
        nonlocal place
        size = int(np.prod(shape))
        place += size
        return torch.from_numpy(numbers[place - size : place].reshape(shape).copy())

    def halves(rows: torch.Tensor, count: int) -> torch.Tensor:
        pairs = rows.reshape(layers, count, dim // heads // 2, 2, dim)
        return pairs.transpose(2, 3).reshape(layers, -1, dim)

    head = dim // heads
    embedding = take(vocabulary, dim)
    parts = {
        "input_layernorm": take(layers, dim),
        "self_attn.q_proj": halves(take(layers, dim, dim), heads),
        "self_attn.k_proj": halves(take(layers, kv * head, dim), kv),
        "self_attn.v_proj": take(layers, kv * head, dim),
        "self_attn.o_proj": take(layers, dim, dim),
        "post_attention_layernorm": take(layers, dim),
        "mlp.gate_proj": take(layers, hidden, dim),
        "mlp.down_proj": take(layers, dim, hidden),
        "mlp.up_proj": take(layers, hidden, dim),
    }
    state = {f"model.layers.{i}.{name}.weight": rows[i] for name, rows in parts.items() for i in range(layers)}
    state |= {"model.embed_tokens.weight": embedding, "model.norm.weight": take(dim), "lm_head.weight": embedding}
    config = LlamaConfig(
        hidden_size=dim,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        vocab_size=vocabulary,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        max_position_embeddings=positions,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config)
    model.load_state_dict(state)
    return model.eval()
