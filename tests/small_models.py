"""Small Marian and BART models in double precision with random biases and norms, and a padded batch for them."""

from typing import Any

import torch
from torch import Tensor
from transformers import BartConfig, BartForConditionalGeneration, MarianConfig, MarianMTModel

from tprune.testing import randomise_

SIZES: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_ffn_dim": 12,
    "decoder_ffn_dim": 20,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "max_position_embeddings": 30,
    "scale_embedding": True,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "decoder_start_token_id": 0,
    "forced_eos_token_id": None,
    "activation_function": "gelu",
}
EXTRA: dict[str, dict[str, Any]] = {
    "marian": {},
    "marian_untied": {"decoder_vocab_size": 33, "share_encoder_decoder_embeddings": False},
    "bart": {},
    "bart_untied": {"tie_word_embeddings": False},
}


def small_model(name: str, seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(seed)
    config = {"vocab_size": 40, **SIZES, **EXTRA[name], **changes}
    if name.startswith("marian"):
        model: Any = MarianMTModel(MarianConfig(**config))
    else:
        model = BartForConditionalGeneration(BartConfig(**config))
    model = model.double().eval()
    randomise_(model, seed)  # in double precision, lest rounding to single anywhere go unseen
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding) and module.weight.requires_grad:
            module.weight.data *= 1 + 1e-3 * torch.rand_like(module.weight)
    return model


def small_batch(sentences: int = 3) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(5)
    source = torch.randint(3, 33, (sentences, 8), generator=random)
    target = torch.randint(3, 33, (sentences, 7), generator=random)
    mask = torch.ones_like(source)
    for row in range(1, sentences):
        mask[row, 8 - 2 * row :] = 0
        target[row, 7 - row :] = -100
    return {"input_ids": source * mask, "attention_mask": mask, "labels": target}
