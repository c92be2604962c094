"""Small inputs for a model of transformers that no task here is for, and small copies of large models."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tprune.support.errors import InputError

LAYERS = ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_layers", "n_layer", "n_layers")
SMALL: Mapping[str, int] = {"vocab_size": 120, "max_position_embeddings": 64}
WIDE = ("hidden_size", "d_model", "n_embd", "dim")  # what configurations call the sizes that are made small
HEADS = ("num_attention_heads", "encoder_attention_heads", "decoder_attention_heads", "n_head", "n_heads")
UNITS = ("intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim", "ffn_dim", "n_inner")
NARROW: Mapping[str, int] = {
    **dict.fromkeys(WIDE, 48),
    **dict.fromkeys(HEADS, 6),
    **dict.fromkeys(UNITS, 40),
    "head_dim": 8,
}
MOST_PARAMETERS = 100_000_000  # parameters of a model that is made
STAGES = ("stage_names", "out_features", "out_indices")  # lists that follow from the number of layers


def small_inputs(model: PreTrainedModel) -> dict[str, Tensor]:
    """Inputs by name, by what the model says its main input is, the second of a pair of texts padded.

    Args:
        model: of transformers.

    Raises:
        InputError: it takes something else than texts or images; says what to do.
    """
    chance, config = torch.Generator().manual_seed(0), model.config
    main = model.main_input_name
    if main == "pixel_values":
        return {main: torch.randn(2, *_image(model), generator=chance)}
    if main != "input_ids":
        raise _not_made(model, main)
    ids = torch.randint(3, _vocabulary(model), (2, 9), generator=chance)
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    found = {"input_ids": ids, "attention_mask": mask}
    return found | ({"decoder_input_ids": ids[:, :5]} if config.is_encoder_decoder else {})


def _image(model: PreTrainedModel) -> tuple[int, ...]:
    """Channels and sides of an image that a model takes."""
    config: Any = model.config
    size, channels = getattr(config, "image_size", None), getattr(config, "num_channels", None)
    sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
    if not all(isinstance(number, int) for number in (channels, *sides)):
        raise _not_made(model, f"images, and its configuration has image_size {size} and num_channels {channels}")
    return (channels, *sides)


def _vocabulary(model: PreTrainedModel) -> int:
    size = getattr(model.config.get_text_config(), "vocab_size", None)
    if not isinstance(size, int):
        raise _not_made(model, f"texts, and its configuration has vocab_size {size}")
    return size


def _not_made(model: nn.Module, takes: str) -> InputError:
    return InputError(
        f"{type(model).__name__} takes {takes}, for which no inputs are made here; give some: "
        "tprune.propose_family(model, inputs)"
    )


def small_model(kind: type[PreTrainedModel], config: Any) -> PreTrainedModel:
    """A model of a class with random weights, made smaller where its configuration describes a large one.

    Args:
        kind: its class.
        config: its configuration, which is left as it is.

    Raises:
        InputError: no model can be made of the configuration; says why.
    """
    said = ""
    own = {key: value for key, value in config.to_dict().items() if key not in STAGES}
    for changes in _smaller(config):
        try:
            changed = type(config)(**{**own, **changes})
            with torch.device("meta"):  # what is too large, or fails, is known before memory is taken
                count = sum(parameter.numel() for parameter in kind(copy.deepcopy(changed)).parameters())
            if count > MOST_PARAMETERS:
                said = said or f"it would have {count:,} parameters"
                continue
            made = kind(changed)
        except Exception as error:  # a configuration that does not fit itself fails in the code of its model
            said = said or f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
            continue
        made.eval()
        return made
    raise InputError(f"{kind.__name__}: no model can be made of its configuration ({said}); expected one that loads")


def _smaller(config: Any) -> Iterator[dict[str, object]]:
    """Changes of a configuration, the smallest first, none last; only what it says of itself is changed."""
    own = config.to_dict()

    def above(limits: Mapping[str, int]) -> dict[str, object]:
        return {key: most for key, most in limits.items() if type(own.get(key)) is int and own[key] > most}

    tokens: dict[str, object] = {
        key: 0
        for key, value in own.items()
        if key.endswith("_token_id") and type(value) is int and value >= SMALL["vocab_size"]
    }
    shallow = above(dict.fromkeys(LAYERS, 2))
    if shallow and isinstance(own.get("layer_types"), list):
        shallow["layer_types"] = own["layer_types"][:2]
    narrow = above(NARROW)
    query, grouped = own.get("num_attention_heads"), own.get("num_key_value_heads")
    if narrow and isinstance(grouped, int):
        narrow["num_key_value_heads"] = NARROW["num_attention_heads"] if grouped == query else min(grouped, 2)
    yield {**shallow, **above(SMALL), **tokens, **narrow}
    yield {**shallow, **above(SMALL), **tokens}
    yield shallow
    yield {}
