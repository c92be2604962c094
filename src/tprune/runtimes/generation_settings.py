"""How a model decodes, read from its generation configuration."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from tprune.families.graphs.encoder_decoder import stacks_of
from tprune.support.errors import InputError, TpruneWarning
from tprune_runtime.generation import Generation, fault

# what `generate` would do beyond the searches of `search`, and the values that switch it off
SWITCHED_OFF: Mapping[str, tuple[object, ...]] = {
    "do_sample": (None, False),
    "num_beam_groups": (None, 1),
    "num_return_sequences": (None, 1),
    "constraints": (None,),
    "encoder_repetition_penalty": (None, 1.0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "begin_suppress_tokens": (None, []),
    "sequence_bias": (None,),
    "guidance_scale": (None, 1.0),
    "exponential_decay_length_penalty": (None,),
    "diversity_penalty": (None, 0.0),
    "penalty_alpha": (None, 0.0),
    "dola_layers": (None,),
    "force_words_ids": (None,),
    "watermarking_config": (None,),
    "prompt_lookup_num_tokens": (None,),
    "token_healing": (None, False),
    "use_mtp": (None, False),
    "stop_strings": (None,),
    "max_time": (None,),
}
UNSAID = 20  # tokens after which `generate` ends every output where no configuration says how many there may be


def generation_of(model: Any) -> Generation:
    """The decoding settings `model.generate` would use, with transformers' defaults filled in.

    `max_length` is cut to what the decoder has positions for (transformers would fail there).

    Raises:
        InputError: a setting without counterpart here is switched on, a value is none that `generate` could use, or
            start or end token are not set.

    Warns:
        TpruneWarning: no configuration says how long an output may be, so that transformers' default of 20 tokens
            holds.
    """
    check_switched_off(model, SWITCHED_OFF)
    stacks, longest = stacks_of(model), longest_output(model)
    positions = stacks.decoder.tokens
    found = settings_of(model, min(longest, positions + 1) if type(longest) is int else longest)
    return checked(model, found, positions)


def check_switched_off(model: Any, settings: Mapping[str, tuple[object, ...]]) -> None:
    """Raises `InputError` for a setting that is switched on; each has the values that switch it off."""
    for key, neutral in settings.items():
        value = getattr(model.generation_config, key, None)
        if value not in neutral:
            raise InputError(
                f"{type(model).__name__}: generation_config.{key} is {value!r}; the export can only do "
                f"{neutral[-1]!r}: set it so in generation_config.json, and the model's own scores will show what that "
                "costs"
            )


def settings_of(model: Any, longest: Any, **more: Any) -> Generation:
    """The decoding settings of a model, of whatever values they are.

    Args:
        model: that writes.
        longest: the most tokens of an output.
        more: further settings.

    Raises:
        InputError: start or end token are not set, or forbidden words are no lists of tokens.
    """
    g, name = model.generation_config, type(model).__name__
    start = g.bos_token_id if g.decoder_start_token_id is None else g.decoder_start_token_id
    eos = _tuple(g.eos_token_id)
    if start is None or not eos:
        missing = "eos_token_id" if not eos else "decoder_start_token_id"
        raise InputError(f"{name}: generation_config.{missing} is not set; decoding needs a start and an end token")
    return Generation(
        decoder_start_token_id=start,
        eos_token_id=eos,
        pad_token_id=eos[0] if g.pad_token_id is None else g.pad_token_id,
        max_length=longest,
        num_beams=_or(g.num_beams, 1),
        bad_words_ids=_forbidden(g, eos, name),
        min_length=_or(g.min_length, 0) if g.min_new_tokens is None else _one_more(g.min_new_tokens),
        length_penalty=_or(g.length_penalty, 1.0),
        early_stopping=_or(g.early_stopping, False),
        forced_bos_token_id=g.forced_bos_token_id,
        forced_eos_token_id=_tuple(g.forced_eos_token_id),
        renormalize_logits=_or(g.renormalize_logits, False),
        no_repeat_ngram_size=_or(g.no_repeat_ngram_size, 0),
        repetition_penalty=_or(g.repetition_penalty, 1.0),
        **more,
    )


def checked(model: Any, found: Generation, positions: int) -> Generation:
    """The settings, where decoding can use all of them.

    Args:
        model: whose they are.
        found: the settings.
        positions: how many tokens the decoder has positions for.

    Raises:
        InputError: a value is none that `generate` could use.
    """
    wrong = fault(found, int(stacks_of(model).output.shape[0]), positions)
    if wrong is None and type(found.repetition_penalty) is not float:
        wrong = f"repetition_penalty is {found.repetition_penalty}; expected a number with a point, as `generate` does"
    if wrong is not None:
        raise InputError(f"{type(model).__name__}: generation_config.{wrong}")
    return found


def longest_output(model: Any) -> Any:
    """The most tokens of an output, with the start token; warns where that is nobody's choice."""
    g, name = model.generation_config, type(model).__name__
    if g.max_new_tokens is not None:
        return _one_more(g.max_new_tokens)
    if g.max_length is not None:
        return g.max_length
    warnings.warn(
        f"{name}: no max_length in generation_config.json or config.json, so every translation ends after {UNSAID} "
        "tokens, transformers' default; set max_length there to the longest that is right",
        TpruneWarning,
        stacklevel=3,
    )
    return UNSAID + 1


def _forbidden(g: Any, eos: Sequence[int], name: str) -> tuple[tuple[int, ...], ...]:
    """Words that are never written: `bad_words_ids` and `suppress_tokens`.

    Transformers leaves the end token out of the former.
    """
    words, never = g.bad_words_ids or (), g.suppress_tokens or ()
    for key, value, lists in (("bad_words_ids", words, words), ("suppress_tokens", never, (never,))):
        if not isinstance(value, list | tuple) or not all(_ids(one) for one in lists):
            raise InputError(f"{name}: generation_config.{key} is {reprlib.repr(value)}; expected lists of token ids")
    found = [tuple(word) for word in words if tuple(word) not in {(end,) for end in eos}]
    return tuple(dict.fromkeys([*found, *((token,) for token in never)]))


def _ids(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(type(token) is int for token in value)


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _one_more(new: Any) -> Any:
    """New tokens and the start token; what is no number is named later."""
    return new + 1 if type(new) is int else new


def _tuple(ids: Any) -> tuple[Any, ...]:
    if ids is None:
        return ()
    return tuple(ids) if isinstance(ids, list | tuple) else (ids,)
