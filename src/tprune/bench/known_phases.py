"""What exported models are timed by: an entry for each phase, and the one that a speed is quoted of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from tprune.support.registry import Registry

Request = Mapping[str, Any]
Reply = dict[str, float]


class Feed(Enum):
    """What a phase is timed on: inputs made up of the sizes of the workload, given batches, or given sentences.

    Or made-up inputs of which so many tokens are written as the workload says (`Workload.new_tokens`).
    """

    SIZES = auto()
    BATCHES = auto()
    SENTENCES = auto()
    WRITTEN = auto()


@dataclass(frozen=True)
class Phase:
    """A part of a model's work, or all of it, that takes time. Which phases a model has, its skeleton says.

    Attributes:
        label: its name in tables.
        time: times it: takes an opened model (`Translator` or `OnePass`) and a request, and gives the milliseconds as
            `ms`; of sentences the `tokens` written for each too. None where the time is composed of others.
        feed: what it is timed on; batches are made up of the sizes of the workload where none are given.
        quoted: whether it is the whole work that a target is about, so that a speed is quoted of it.
        parts: of a composed phase: one that is run once, and one that is run `Workload.new_tokens` times.
    """

    label: str
    time: Callable[[Any, Request], Reply] | None = None
    feed: Feed = Feed.SIZES
    quoted: bool = False
    parts: tuple[str, str] | None = None

    @property
    def one(self) -> str:
        """The label after its article."""
        return f"{'an' if self.label[0] in 'aeiou' else 'a'} {self.label}"


def _fault(thing: object) -> str | None:
    if not isinstance(thing, Phase):
        return f"a {type(thing).__name__}; expected a tprune.bench.known_phases.Phase"
    return None if (thing.time is None) != (thing.parts is None) else "expected either time or parts"


PHASES: Registry[Phase] = Registry(
    "phase",
    "tprune.phases",
    {
        "encoder": "tprune.bench.phases:ENCODER",
        "decoder_step": "tprune.bench.phases:DECODER_STEP",
        "sentence": "tprune.bench.phases:SENTENCE",
        "recording": "tprune.bench.phases:RECORDING",
        "pass": "tprune.bench.phases:PASS",
        "prefill": "tprune.bench.phases:PREFILL",
        "step": "tprune.bench.phases:STEP",
        "text": "tprune.bench.phases:TEXT",
    },
    _fault,
)


def reported(timed: Iterable[str]) -> str:
    """Which of the phases that were timed a speed is quoted of: the one that is quoted, else the last of those known.

    Example:
        >>> reported(["encoder", "sentence"]), reported(["prefill", "step"]), reported(["step", "text"])
        ('sentence', 'step', 'text')
    """
    there = list(timed)
    known = [name for name in PHASES if name in there]
    return next((name for name in known if PHASES[name].quoted), (known or there)[-1])


def composed_of(timed: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The composed phases that follow from those that are timed, with their two parts.

    Example:
        >>> composed_of(["prefill", "step"])
        {'text': ('prefill', 'step')}
    """
    there = set(timed)
    found = {name: phase.parts for name, phase in PHASES.items() if phase.parts is not None}
    return {name: parts for name, parts in found.items() if there.issuperset(parts)}


def measured_for(phases: Iterable[str]) -> tuple[str, ...]:
    """The phases that are measured where these are asked for: of a composed one its parts.

    Example:
        >>> measured_for(["step", "text"])
        ('step', 'prefill')
    """
    return tuple(dict.fromkeys(part for name in phases for part in PHASES[name].parts or (name,)))


def with_composed(rounds: Mapping[str, Sequence[float]], new_tokens: int | None) -> dict[str, list[float]]:
    """The milliseconds of every round by phase, with those of the composed phases before them.

    Nothing is composed where it is not said of how many steps.

    Example:
        >>> with_composed({"prefill": [2.0, 4.0], "step": [0.5, 0.25]}, 10)
        {'text': [7.0, 6.5], 'prefill': [2.0, 4.0], 'step': [0.5, 0.25]}
    """
    measured = {name: list(each) for name, each in rounds.items()}
    if new_tokens is None:
        return measured
    made = {
        name: [once + new_tokens * often for once, often in zip(rounds[first], rounds[last], strict=True)]
        for name, (first, last) in composed_of(rounds).items()
    }
    return {**made, **measured}


def label_of(name: str, new_tokens: int | None) -> str:
    """A phase with its unit, as tables have it; a composed one says of what it is composed.

    Example:
        >>> label_of("decoder_step", 20), label_of("text", 20)
        ('decoder step, ms', 'text (composed: prefill + 20 x step), ms')
    """
    phase = PHASES.get(name)
    if phase is None:  # of a plugin that is not here
        return f"{name}, ms"
    if phase.parts is None:
        return f"{phase.label}, ms"
    first, last = (PHASES[part].label for part in phase.parts)
    return f"{phase.label} (composed: {first} + {new_tokens} x {last}), ms"


def quoted_words(name: str) -> str:
    """What a speed is of, in words.

    Example:
        >>> quoted_words("encoder"), quoted_words("text")
        ('an encoder pass', 'a text')
    """
    phase = PHASES.get(name)
    return f"one {name}" if phase is None else phase.one
