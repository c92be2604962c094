"""How a model that hears recordings decodes: what transcripts begin with, and what `generate` does that is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tprune.families.graphs.encoder_decoder import stacks_of
from tprune.runtimes.generation_settings import SWITCHED_OFF, check_switched_off, checked, settings_of
from tprune.tasks.beginnings import begun_with
from tprune_runtime.generation import Generation

# what Whisper's own `generate` does beyond the search for one recording's words, and the values that switch it off
OF_WHISPER: Mapping[str, tuple[object, ...]] = {
    "return_timestamps": (None, False),
    "return_token_timestamps": (None, False),
    "return_segments": (None, False),
    "condition_on_prev_tokens": (None, False),
    "compression_ratio_threshold": (None,),
    "logprob_threshold": (None,),
    "no_speech_threshold": (None,),
    "prompt_ids": (None,),
}
SUPPRESSED = "begin_suppress_tokens"


def transcription_of(model: Any, tokenizer: Any = None) -> Generation:
    """The decoding settings of a model that hears recordings; transcripts may be as long as it has positions.

    Args:
        model: a WhisperForConditionalGeneration, dense or pruned.
        tokenizer: its own, which says what transcripts begin with; `generation_config.forced_decoder_ids` does where
            there is none.

    Raises:
        InputError: time stamps, the detection of a language, or another setting without counterpart here is switched
            on, or a value is none that `generate` could use.
    """
    check_switched_off(model, {**{k: v for k, v in SWITCHED_OFF.items() if k != SUPPRESSED}, **OF_WHISPER})
    positions, config = stacks_of(model).decoder.tokens, model.generation_config
    begun = begun_with(model, tokenizer)
    first = {SUPPRESSED: tuple(config.begin_suppress_tokens or ()), "prefix": tuple(begun[1:])}
    return checked(model, settings_of(model, positions, **first), positions)
