"""Small models that read one sequence and write or label another, in double precision, random biases and norms."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from tprune.testing import randomise_

T5: dict[str, Any] = {
    "vocab_size": 40,
    "d_model": 24,
    "d_kv": 6,
    "d_ff": 20,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
    "num_labels": 3,
}
BART: dict[str, Any] = {
    "vocab_size": 40,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_ffn_dim": 12,
    "decoder_ffn_dim": 20,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "max_position_embeddings": 30,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
    "num_labels": 3,
    "scale_embedding": True,
}
WHISPER = BART | {"num_mel_bins": 6, "max_source_positions": 8, "max_target_positions": 30, "classifier_proj_size": 10}
WHISPER |= {"begin_suppress_tokens": None}
WAV2VEC2: dict[str, Any] = {
    "vocab_size": 12,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "conv_dim": (8, 8),
    "conv_stride": (4, 2),
    "conv_kernel": (4, 2),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "num_codevectors_per_group": 4,
    "codevector_dim": 8,
    "proj_codevector_dim": 8,
    "tdnn_dim": (12, 12),
    "tdnn_kernel": (3, 1),
    "tdnn_dilation": (1, 1),
    "xvector_output_dim": 6,
    "classifier_proj_size": 10,
    "num_labels": 3,
}
STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "adapter_attn_dim": 4}
GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}


def of(kind: str, sizes: Mapping[str, Any], **more: Any) -> Callable[[], nn.Module]:
    """What makes a model of a class of transformers."""

    def make() -> nn.Module:
        made: Any = getattr(transformers, kind)
        model: nn.Module = made(made.config_class(**{**sizes, **more}))
        return model

    return make


def untied(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """With an output matrix of its own, as checkpoints have that are untied whatever their configuration says."""

    def made() -> nn.Module:
        model: Any = make()
        model.lm_head.weight = nn.Parameter(torch.randn_like(model.shared.weight))
        return model

    return made


MODELS: dict[str, Callable[[], nn.Module]] = {
    "flan-t5": untied(of("T5ForConditionalGeneration", T5, **GATED)),
    "mbart": of("MBartForConditionalGeneration", BART),
    "m2m_100": of("M2M100ForConditionalGeneration", BART),
    "pegasus": of("PegasusForConditionalGeneration", BART),
    "whisper": of("WhisperForConditionalGeneration", WHISPER),
    "wav2vec2": of("Wav2Vec2ForCTC", WAV2VEC2),
}
HEADS: dict[str, Callable[[], nn.Module]] = {  # the other classes that the same tables know
    "t5": of("T5ForConditionalGeneration", T5),
    "mt5": of("MT5ForConditionalGeneration", T5, **GATED),
    "t5-bare": of("T5Model", T5),
    "t5-encoder": of("T5EncoderModel", T5),
    "t5-classifier": of("T5ForSequenceClassification", T5, classifier_dropout=0.0),
    "t5-tokens": of("T5ForTokenClassification", T5),
    "t5-answers": of("T5ForQuestionAnswering", T5, num_labels=2),
    "mt5-encoder": of("MT5EncoderModel", T5, **GATED),
    "bart-bare": of("BartModel", BART),
    "bart-classifier": of("BartForSequenceClassification", BART),
    "bart-answers": of("BartForQuestionAnswering", BART, num_labels=2),
    "mbart-bare": of("MBartModel", BART),
    "mbart-classifier": of("MBartForSequenceClassification", BART),
    "m2m_100-untied": of("M2M100ForConditionalGeneration", BART, tie_word_embeddings=False),
    "pegasus-bare": of("PegasusModel", BART),
    "wav2vec2-stable": of("Wav2Vec2ForCTC", WAV2VEC2, **STABLE),
    "wav2vec2-bare": of("Wav2Vec2Model", WAV2VEC2),
    "wav2vec2-classifier": of("Wav2Vec2ForSequenceClassification", WAV2VEC2, use_weighted_layer_sum=True),
    "wav2vec2-frames": of("Wav2Vec2ForAudioFrameClassification", WAV2VEC2),
    "wav2vec2-speakers": of("Wav2Vec2ForXVector", WAV2VEC2),
    "wav2vec2-pretraining": of("Wav2Vec2ForPreTraining", WAV2VEC2),
    "whisper-bare": of("WhisperModel", WHISPER),
    "whisper-classifier": of("WhisperForAudioClassification", WHISPER, encoder_layers=3, use_weighted_layer_sum=True),
}
LIMITS = {"t5": 5e-6, "mt5": 5e-6}  # by family; others 1e-10


def sequence_model(name: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    model: Any = (MODELS | HEADS)[name]().double().eval()
    randomise_(model, seed)
    for name_, tensor in model.named_parameters():
        if "relative_attention_bias" in name_:
            nn.init.normal_(tensor)
    return model


def inputs(model: Any) -> dict[str, Tensor]:
    """Tokens of three sentences, the second padded; or sound."""
    random = torch.Generator().manual_seed(3)
    ids = torch.randint(3, 40, (3, 8), generator=random)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    ids[1, 5:] = 0
    if model.main_input_name == "input_features":
        return {"input_features": torch.randn(3, 6, 16, generator=random).to(model.dtype)}
    if model.main_input_name == "input_values":
        waves, heard = torch.randn(3, 96, generator=random).to(model.dtype), torch.ones(3, 96, dtype=torch.long)
        heard[1, 60:] = 0
        return {"input_values": waves, "attention_mask": heard}
    ids[torch.arange(3), mask.sum(1) - 1] = 1  # the end of sentence, by which classifiers pool
    return {"input_ids": ids, "attention_mask": mask}


def outputs(model: Any, batch: Mapping[str, Tensor] | None = None) -> Tensor:
    """What the model says; of bare models, whose dimensions may be fewer, sums over them."""
    given = dict(batch if batch is not None else inputs(model))
    classifies = "Classification" in type(model).__name__  # such models tell their decoder themselves, by the tokens
    if not classifies and hasattr(getattr(model, "model", model), "decoder"):
        told = torch.arange(24).view(3, 8) + 3
        told[:, -1] = 1
        given["decoder_input_ids"] = told
    found: Any = model(**given)
    if "start_logits" in found:
        return torch.cat([found.start_logits, found.end_logits], 1)
    first: Tensor = found[0]
    return torch.stack([first.sum(-1), first.square().sum(-1)]) if "last_hidden_state" in found else first


def written(model: Any, **how: Any) -> Tensor:
    """Greedily, with a cache."""
    given = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, **how}
    found: Tensor = model.generate(**inputs(model), **given)
    return found
