"""How many tokens a model of transformers has positions for, and how many samples it takes."""

from __future__ import annotations

from math import prod
from typing import Any

from torch import nn

FRAMES = 1500  # of a signal
RELATIVE = 512  # tokens, where positions are distances and the configuration says nothing


def most_tokens(model: nn.Module) -> int | None:
    """The tokens of the longest text that a model takes; None where nothing limits them.

    Where the table of positions has a row for padding, positions are counted from the row after it (RoBERTa: of 514
    rows, 512 are positions).

    Args:
        model: of transformers, with `max_position_embeddings` in its configuration, or any other module.

    Example:
        >>> from transformers import RobertaConfig, RobertaModel
        >>> sizes = {"hidden_size": 4, "num_hidden_layers": 0, "num_attention_heads": 1, "vocab_size": 8}
        >>> most_tokens(RobertaModel(RobertaConfig(**sizes, max_position_embeddings=32, pad_token_id=1)))
        30
    """
    most = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if most is None:
        return None
    base: Any = getattr(model, "base_model", model)
    padding = getattr(getattr(getattr(base, "embeddings", None), "position_embeddings", None), "padding_idx", None)
    return int(most) - (0 if padding is None else padding + 1)


def most_samples(model: nn.Module) -> int | None:
    """The samples of the longest signal that a model takes here, 1,500 frames; None for one that reads no signal.

    Nothing limits them but memory: of wav2vec 2.0 they are 30 seconds.

    Args:
        model: of transformers, with `conv_stride` in its configuration, or any other module.

    Example:
        >>> from transformers import Wav2Vec2Config, Wav2Vec2ForCTC
        >>> sizes = {"hidden_size": 16, "num_attention_heads": 1, "num_conv_pos_embedding_groups": 1}
        >>> most_samples(Wav2Vec2ForCTC(Wav2Vec2Config(**sizes, num_hidden_layers=0)))
        480000
    """
    strides = getattr(getattr(model, "config", None), "conv_stride", None)
    return FRAMES * prod(strides) if isinstance(strides, list | tuple) else None


def trained_tokens(config: Any) -> int:
    """The tokens that a model was trained with, of one whose positions are distances and have no end (T5).

    Args:
        config: of transformers; `n_positions` is the number, `RELATIVE` where it says none.

    Example:
        >>> from transformers import MT5Config, T5Config
        >>> trained_tokens(T5Config(n_positions=1024)), trained_tokens(MT5Config())
        (1024, 512)
    """
    return int(getattr(config, "n_positions", None) or RELATIVE)
