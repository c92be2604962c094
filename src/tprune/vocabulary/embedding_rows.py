"""Fewer tokens: a model with some rows of its embeddings and of its output projection, and with the ids to match."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import BartForConditionalGeneration, MarianMTModel

from tprune.families.registry import family_of
from tprune.support.errors import InputError

MATRICES = ("shared.weight", "embed_tokens.weight", "lm_head.weight")  # of one row per token
BIAS = "final_logits_bias"


@torch.no_grad()
def trim_model(model: Any, kept: Sequence[int]) -> Any:
    """A model of the tokens `kept`: the rows E[kept] and the logits z[kept] of before, and new ids in all settings.

    Args:
        model: a (pruned) Marian or BART model, left as it is.
        kept: old ids, ascending; they become 0, 1, 2, ...

    Raises:
        InputError: an unsupported model, one with vocabularies of different sizes for source and target, ids that do
            not ascend or are no rows, or one missing that the settings need (padding, start, end, forced tokens).
    """
    rows, kind = tokens_of(model), type(model).__name__
    if not kept or list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= rows:
        raise InputError(f"ids to keep: expected ascending ones from 0 to {rows - 1}, none twice, got {_short(kept)}")
    if lost := special_ids(model) - set(kept):
        raise InputError(f"the settings of this {kind} need token {min(lost)}, which is not among the ids to keep")
    new = {old: index for index, old in enumerate(kept)}
    config = copy.deepcopy(model.config)
    _renumber_(config, new)
    config.vocab_size = len(kept)
    if hasattr(config, "decoder_vocab_size"):
        config.decoder_vocab_size = len(kept)
    some = next(model.parameters())
    small = type(model)(config).to(dtype=some.dtype, device=some.device)
    index = torch.tensor(list(kept), device=some.device)
    small.load_state_dict({n: _take(n, tensor, index) for n, tensor in model.state_dict().items()}, strict=True)
    for name, parameter in model.named_parameters():
        small.get_parameter(name).requires_grad_(parameter.requires_grad)
    family_of(model).inherit(model, small)
    _renumber_(small.generation_config, new)
    return small.train(model.training)


def tokens_of(model: Any) -> int:
    """How many tokens a model has. Raises `InputError` for an unsupported one, or one with two vocabularies."""
    kind = type(model).__name__
    if not isinstance(model, MarianMTModel | BartForConditionalGeneration):
        raise InputError(
            f"cannot trim the vocabulary of a {kind}; expected a (pruned) Marian or BART model, or no --trim-vocab"
        )
    state = model.state_dict()
    counts = {len(tensor) for name, tensor in state.items() if name.endswith(MATRICES)} | {state[BIAS].shape[1]}
    if len(counts) > 1:
        raise InputError(
            f"this {kind} has vocabularies of {' and '.join(map(str, sorted(counts)))} tokens; "
            "expected a joint one for source and target"
        )
    return int(counts.pop())


def outputs_of(model: Any) -> int:
    """How many tokens a model may write. Raises `InputError` for one whose tokens cannot be left out of its outputs."""
    if not hasattr(model, BIAS):
        raise InputError(
            f"cannot leave out tokens that a {type(model).__name__} writes; expected a (pruned) Marian, BART, mBART or "
            "Pegasus model, or no --output-vocab (prune.output_vocabulary)"
        )
    return int(getattr(model, BIAS).shape[-1])


def special_ids(model: Any) -> set[int]:
    """The ids without which the settings make no sense: padding, start, end and forced tokens."""
    settings = (model.config, model.generation_config)
    return {index for config in settings for key in _needing(config) for index in _flat(getattr(config, key))}


def _take(name: str, tensor: Tensor, kept: Tensor) -> Tensor:
    if name == BIAS:
        return tensor.index_select(1, kept)
    return tensor.index_select(0, kept) if name.endswith(MATRICES) else tensor


def _needing(config: Any) -> list[str]:
    """The settings whose every token must stay."""
    return [key for key in config.to_dict() if key.endswith("_token_id") or key == "force_words_ids"]


def _renumber_(config: Any, new: Mapping[int, int]) -> None:
    """New ids in a configuration; a rule about a token that is gone goes, for that token is never said."""
    for key in _needing(config):
        setattr(config, key, _mapped(getattr(config, key), new))
    for key, rule in RULES.items():
        if getattr(config, key, None) is not None:
            setattr(config, key, rule(getattr(config, key), new) or None)


def _tokens(value: Sequence[int], new: Mapping[int, int]) -> list[int]:
    return [new[index] for index in value if index in new]


def _words(value: Sequence[Sequence[int]], new: Mapping[int, int]) -> list[list[int]]:
    return [_mapped(word, new) for word in value if all(index in new for index in word)]


def _biases(value: Any, new: Mapping[int, int]) -> Any:
    pairs = value.items() if isinstance(value, Mapping) else value
    left = [(_mapped(word, new), bias) for word, bias in pairs if all(index in new for index in word)]
    return {tuple(word): bias for word, bias in left} if isinstance(value, Mapping) else [list(pair) for pair in left]


RULES: Mapping[str, Callable[[Any, Mapping[int, int]], Any]] = {
    "bad_words_ids": _words,
    "suppress_tokens": _tokens,
    "begin_suppress_tokens": _tokens,
    "sequence_bias": _biases,
}


def _flat(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    for inner in () if value is None or isinstance(value, int) else value:
        yield from _flat(inner)


def _mapped(value: Any, new: Mapping[int, int]) -> Any:
    if value is None or isinstance(value, int):
        return None if value is None else new[value]
    return [_mapped(inner, new) for inner in value]


def _short(ids: Sequence[int]) -> str:
    return f"[{', '.join(map(str, ids[:5]))}{', ...' if len(ids) > 5 else ''}]"
