"""What is timed."""

from __future__ import annotations

from dataclasses import dataclass

from tprune.support.errors import InputError

MEASURES = ("encoder", "decoder_step", "sentence")  # of translation models
PHASES = (*MEASURES, "pass", "prefill", "step")  # of all models


@dataclass(frozen=True)
class Workload:
    """What is timed of a model: of its phases all, or those in `measures`.

    A translation model has the encoder on `source` tokens, one decoder step after `past` tokens, and whole sentences:
    at most `sentences` of those given are used (a batch where that is more), evenly spaced; `beams=None` decodes as
    exported, 1 is greedy. A model of one pass has `pass`, on `source` tokens where it reads text; a language model has
    `prefill` of `source` tokens, and one `step` after `past` tokens.
    """

    source: int = 25
    past: int = 12
    beams: int | None = 1
    sentences: int = 20
    measures: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises `InputError` for numbers out of range and unknown measures."""
        if min(self.source, self.sentences, 1 if self.beams is None else self.beams) < 1 or self.past < 0:
            raise InputError(f"{self}; expected at least 1 source token, sentence and beam")
        if set(self.measures) - set(PHASES):
            raise InputError(f"measures {self.measures}; expected some of {', '.join(PHASES)}")
