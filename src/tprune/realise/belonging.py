"""Whether files belong together.

These are a model and its tokeniser, and the two configurations in which settings of `generate` may stand.
"""

from __future__ import annotations

import json
import reprlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tprune.realise.model_files import content
from tprune.support.errors import InputError, TpruneWarning

CONFIG, GENERATION = "config.json", "generation_config.json"
BOTH_SIDES = ("pad_token_id", "eos_token_id")  # tokens of the source and of the target
TRAINED = (*BOTH_SIDES, "decoder_start_token_id")  # training reads config.json, `generate` generation_config.json
WRITTEN = ("forced_bos_token_id", "forced_eos_token_id", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens")

# what changes translations, and the values that change nothing, which configurations of older libraries are full of
TRANSLATING: Mapping[str, tuple[object, ...]] = {
    **dict.fromkeys((*WRITTEN, "max_new_tokens", "min_new_tokens"), ()),
    "max_length": (20,),
    "min_length": (0,),
    "num_beams": (1,),
    "length_penalty": (1.0,),
    "early_stopping": (False,),
    "no_repeat_ngram_size": (0,),
    "repetition_penalty": (1.0,),
    "do_sample": (False,),
    "renormalize_logits": (False,),
}


def check_settings(folder: Path) -> None:
    """Whether the two configurations of a model's directory name tokens that there are, and agree.

    Raises:
        InputError: a token id outside the vocabulary, naming file and key.

    Warns:
        TpruneWarning: values that differ, or that stand in config.json alone, where `generate` does not look.
    """
    config = content(folder / CONFIG)
    generation = content(folder / GENERATION) if (folder / GENERATION).exists() else {}
    # beside a generation_config.json, what config.json says of translating counts for nothing
    for name, found, keys in (
        (CONFIG, config, TRAINED if generation else (*TRAINED, *WRITTEN)),
        (GENERATION, generation, (*TRAINED, *WRITTEN)),
    ):
        check_ids(str(folder / name), {key: found.get(key) for key in keys}, config)
    if generation:
        for line in differences(config, generation):
            warnings.warn(f"{folder}: {line}", TpruneWarning, stacklevel=2)


def check_ids(where: str, settings: Mapping[str, object], config: Mapping[str, object]) -> None:
    """Raises `InputError` for a token id that the vocabulary of `config` does not have."""
    source, target = _sizes(config)
    if source is None or target is None:
        return
    for key, value in settings.items():
        size = max(source, target) if key in BOTH_SIDES else target
        if any(type(token) is not int or not 0 <= token < size for token in _flat(value)):
            raise InputError(
                f"{where}: {key} is {reprlib.repr(value)}; expected token ids below {size}, the size of the vocabulary"
            )


def differences(config: Mapping[str, object], generation: Mapping[str, object]) -> Iterator[str]:
    """What `config.json` says about translating that `generation_config.json` does not, one line a value.

    It says it otherwise, or not at all.

    Example:
        >>> list(differences({"max_length": 512}, {"pad_token_id": 0}))
        ['config.json says max_length 512, which counts for nothing beside generation_config.json, where it is missing']
    """
    for key in (*TRAINED, *TRANSLATING):
        said, also = config.get(key), generation.get(key)
        if said is None or said == also:
            continue
        if key in TRAINED and also is not None:
            yield (
                f"config.json says {key} {_short(said)}, which training reads, and generation_config.json "
                f"{_short(also)}, which translating reads"
            )
        elif said not in TRANSLATING.get(key, ()):
            where = "where it is missing" if also is None else f"which says {_short(also)}"
            yield (
                f"config.json says {key} {_short(said)}, which counts for nothing beside generation_config.json, "
                f"{where}"
            )


def check_tokenizer(tokenizer: Any, config: Any, where: str) -> None:
    """Whether a tokeniser's tokens are those of a model.

    Args:
        tokenizer: of transformers.
        config: the model's, an object or the content of its file.
        where: what to call them in messages.

    Raises:
        InputError: the tokeniser has tokens that the model does not know.

    Warns:
        TpruneWarning: the two do not agree about the end of a sentence, or about padding.
    """
    if not hasattr(tokenizer, "get_vocab"):
        return
    said = config if isinstance(config, Mapping) else config.to_dict()
    source, target = _sizes(said)
    if source is None or target is None:
        return
    apart = getattr(tokenizer, "separate_vocabs", False)
    sides = {"source ": (tokenizer.get_vocab(), source), "target ": (getattr(tokenizer, "target_encoder", {}), target)}
    for side, (ids, size) in (sides if apart else {"": (tokenizer.get_vocab(), min(source, target))}).items():
        tokens = max((index for index in ids.values() if type(index) is int), default=-1) + 1
        if tokens > size:
            raise InputError(
                f"{where}: the tokeniser has {tokens:,} {side}tokens, the model knows {size:,}; where tokens were "
                "added to it, model.resize_token_embeddings(len(tokenizer)) and save both, else take the tokeniser "
                "that the model was trained with"
            )
    for key in BOTH_SIDES:
        mine, models = getattr(tokenizer, key, None), _flat(said.get(key))
        if mine is not None and models and mine not in models:
            warnings.warn(
                f"{where}: the tokeniser's {key} is {mine}, the model's {_short(said[key])}; do they belong together?",
                TpruneWarning,
                stacklevel=2,
            )


def _sizes(config: Mapping[str, object]) -> tuple[int | None, int | None]:
    """How many tokens the encoder and the decoder know, where the configuration says so."""
    source = config.get("vocab_size")
    target = config.get("decoder_vocab_size") or source
    return (source, target) if type(source) is int and type(target) is int else (None, None)


def _flat(value: object) -> list[object]:
    if value is None:
        return []
    return [one for part in value for one in _flat(part)] if isinstance(value, (list, tuple)) else [value]


def _short(value: object) -> str:
    return reprlib.repr(value) if isinstance(value, (list, dict)) else json.dumps(value, ensure_ascii=False)[:80]
