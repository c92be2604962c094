"""What stands on a bare model of transformers: the maps of its last hidden states."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

MAPS = ("lm_head", "score", "classifier", "qa_outputs")  # as transformers calls maps that read the last hidden states


def bare_of(model: PreTrainedModel) -> str:
    """Where the bare model is, up to the dot; nothing where it is the model itself.

    Args:
        model: a bare model, or one with a head.

    Example:
        >>> from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model
        >>> sizes = GPT2Config(n_embd=4, n_layer=1, n_head=1, vocab_size=8, n_positions=4)
        >>> bare_of(GPT2LMHeadModel(sizes)), bare_of(GPT2Model(sizes))
        ('transformer.', '')
    """
    return "" if model.base_model is model else f"{model.base_model_prefix}."


def readers_of(model: PreTrainedModel) -> tuple[str, ...] | None:
    """The linear maps that read the bare model's last hidden states; None where something else stands on it.

    Args:
        model: a bare model, or one with a head.

    Example:
        >>> from transformers import GPT2Config, GPT2DoubleHeadsModel, GPT2LMHeadModel
        >>> sizes = GPT2Config(n_embd=4, n_layer=1, n_head=1, vocab_size=8, n_positions=4)
        >>> readers_of(GPT2LMHeadModel(sizes)), readers_of(GPT2DoubleHeadsModel(sizes))
        (('lm_head',), None)
    """
    if model.base_model is model:
        return ()
    others = [(name, part) for name, part in model.named_children() if part is not model.base_model]
    weighed = [(name, part) for name, part in others if next(part.parameters(), None) is not None]
    known = all(name in MAPS and isinstance(part, nn.Linear) for name, part in weighed)
    return tuple(name for name, _ in weighed) if known else None
