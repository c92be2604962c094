"""Small models of the families beside Marian and BART that write text, for exports, dense and cut unevenly."""

from typing import Any

import torch
import transformers
from torch import nn

import tprune
from tprune.families.registry import family_of
from tprune.testing import randomise_

BART: dict[str, Any] = {
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 28,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 3,
    "max_position_embeddings": 60,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": None,
    "scale_embedding": True,
    "activation_function": "gelu",
}
T5: dict[str, Any] = {
    "d_model": 24,
    "d_kv": 6,
    "d_ff": 20,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "decoder_start_token_id": 0,
}
GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
WRITERS: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": ("T5ForConditionalGeneration", T5),
    "flan-t5": ("T5ForConditionalGeneration", T5 | GATED),
    "mt5": ("MT5ForConditionalGeneration", T5 | GATED),
    "mbart": ("MBartForConditionalGeneration", BART),
    "m2m_100": ("M2M100ForConditionalGeneration", BART),
    "pegasus": ("PegasusForConditionalGeneration", BART | {"decoder_start_token_id": 0}),
}
FORCED = {"mbart": 5, "m2m_100": 6}  # the first token, as of the language that is written
REMOVED = (
    "encoder_attn.sublayer",
    "EncDecAttention.sublayer",
    "encoder.layers.0.fc1.sublayer",
    "encoder.block.0.layer.1.DenseReluDense.sublayer",
    "decoder.layers.0.self_attn.sublayer",
    "decoder.block.1.layer.0.SelfAttention.sublayer",
)


def writer(name: str, vocabulary: int, **changes: Any) -> Any:
    """A model that writes, with random biases and norms; padding is 0, the end 1 unless changed."""
    kind, sizes = WRITERS[name]
    torch.manual_seed(0)
    made: Any = getattr(transformers, kind)
    model: Any = made(made.config_class(vocab_size=vocabulary, **sizes | changes)).eval()
    randomise_(model, 1)
    for called, tensor in model.named_parameters():
        if "relative_attention_bias" in called:
            nn.init.normal_(tensor)
    model.generation_config.update(max_length=20, num_beams=3, bad_words_ids=[[0]], eos_token_id=1, pad_token_id=0)
    model.generation_config.update(decoder_start_token_id=sizes["decoder_start_token_id"])
    model.generation_config.update(forced_bos_token_id=FORCED.get(name))
    return model


def cut(model: Any, width: bool = True) -> Any:
    """Uneven heads, widths of heads and units, a sublayer of each sort removed, a narrower residual stream."""
    every = tprune.couplings(model, ["ffn", "heads", "qk", "vo", "sublayer", *(["width"] if width else [])])
    plan = tprune.make_plan(model, family_of(model).name, every)
    kept: dict[str, torch.Tensor] = {}
    first: set[str] = set()
    for number, entry in enumerate(plan.entries):
        keep, name = torch.ones(entry.groups, dtype=torch.bool), entry.coupling.name
        ending = next((end for end in REMOVED if name.endswith(end)), None)
        if ending is not None and ending not in first:
            first.add(ending)
            keep = torch.zeros_like(keep)
        elif entry.coupling.kind == "heads":
            keep[1 + number % 2 :: 3] = False
        elif entry.coupling.kind == "ffn":
            keep[number % 3 :: 3 + number % 2] = False
        elif entry.coupling.kind == "qk":
            keep[:, 0] = False
        elif entry.coupling.kind == "vo":
            keep[:, 2 : 3 + number % 2] = False
        elif entry.coupling.kind == "width":
            keep[1::5] = False
        kept[name] = keep
    return tprune.shrink(model, plan.with_kept(kept, {}, {})).eval()
