"""The sizes that exported models are timed at, and by which phases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tprune.bench.known_phases import PHASES, Feed, composed_of
from tprune.core.graph import PAST, TOTAL
from tprune.support.errors import InputError

NEW_TOKENS = 20  # that a language model writes after a prompt, where nobody says how many
SPOKEN = 25  # of the transcript of a recording, likewise


@dataclass(frozen=True)
class Workload:
    """What is timed of a model: of its phases all, or those in `measures` (`tprune.bench.known_phases.PHASES`).

    A translation model has the encoder on `source` tokens, one decoder step after `past` tokens, and whole sentences:
    at most `sentences` of those given are used (a batch where that is more), evenly spaced; `beams=None` decodes as
    exported, 1 is greedy. One that hears recordings has the same two, and a whole `recording`, whose transcript has
    `new_tokens` tokens. A model of one pass has `pass`, on `source` tokens where it reads text. A language model has
    `prefill` of `source` tokens, one `step` after `past` tokens, and `text`, which is composed of both: a prefill and
    `new_tokens` steps; nothing is composed where these are not given.
    """

    source: int = 25
    past: int = 12
    beams: int | None = 1
    sentences: int = 20
    measures: tuple[str, ...] = ()
    new_tokens: int | None = None

    def check(self) -> None:
        """Raises `InputError` for numbers out of range and unknown measures."""
        given = [each for each in (self.beams, self.new_tokens) if each is not None]
        if min(self.source, self.sentences, *given) < 1 or self.past < 0:
            raise InputError(f"{self}; expected at least 1 source token, sentence, beam and new token")
        if set(self.measures) - set(PHASES):
            raise InputError(f"measures {self.measures}; expected some of {', '.join(PHASES)}")
        if self.new_tokens is not None:
            return
        if made := [name for name in self.measures if PHASES[name].parts is not None]:
            raise InputError(f"{made[0]} is composed; expected how many steps it has (new_tokens)")
        if made := [name for name in self.measures if PHASES[name].feed is Feed.WRITTEN]:
            raise InputError(f"{made[0]}: nothing says how many tokens are written; expected new_tokens")


def usual_work(phases: Iterable[str], limits: Mapping[str, int]) -> Workload:
    """The workload of a model where none is given.

    Of a composed phase the steps are timed in the middle of what is written, and the model has positions for all of it.

    Args:
        phases: that the model is timed by.
        limits: of its layout.

    Example:
        >>> usual_work(["prefill", "step"], {}).past, usual_work(["prefill", "step"], {"total": 20}).source
        (35, 10)
    """
    usual, there = Workload(), list(phases)
    if any(PHASES[name].feed is Feed.WRITTEN for name in there if name in PHASES):
        most = limits.get(PAST, 2 * SPOKEN)
        return replace(usual, past=min(usual.past, most // 2), new_tokens=max(1, min(SPOKEN, most // 2)))
    if not composed_of(there):
        return usual
    most = limits.get(TOTAL, 2 * (usual.source + NEW_TOKENS))
    source = max(1, min(usual.source, most // 2))
    new_tokens = max(1, min(NEW_TOKENS, most - source))
    return Workload(source, source + new_tokens // 2, new_tokens=new_tokens)
