"""Phases: into which parts the time of a model is split, what of it is measured, and which time is quoted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tprune.bench.known_phases import PHASES, composed_of
from tprune.core.sites import DECODER, ENCODER, Site
from tprune.families.graphs.graph import skeleton_of
from tprune.runtimes.runtime import ModelRuntime, runtime_named
from tprune.support.errors import InputError

Floats = NDArray[np.float64]
Rounds = Mapping[str, Sequence[float]]  # one number a round, by what was timed


@dataclass(frozen=True)
class Times:
    """Milliseconds of every part of a model's time, by its name, and of what is quoted.

    Example:
        >>> TRANSLATION.times([2.0, 0.5], tokens=20)
        Times(parts={'encoder': 2.0, 'token': 0.5}, total=12.0)
    """

    parts: Mapping[str, float]
    total: float

    @property
    def array(self) -> Floats:
        """The parts in their order."""
        return np.array(list(self.parts.values()))

    def of(self, name: str) -> float:
        """Of a part, or, by any other name, of what is quoted."""
        return self.parts.get(name, self.total)


@dataclass(frozen=True)
class Part:
    """A part of the quoted time.

    Attributes:
        name: as tables write it.
        stack: the stack that runs in it, `encoder` or `decoder`; empty where the whole model does. What is made of the
            source, such as keys and values of cross-attentions, is made with the encoder.
    """

    name: str
    stack: str = ""

    def runs(self, site: Site) -> bool:
        """Whether operations at a site take time in it. Cross-attentions do in both stacks."""
        return not self.stack or site.reads_source or site.stack == self.stack

    def uses(self, of_source: bool) -> bool:
        """Whether weights are used in it, from whether they are applied to the source."""
        return not self.stack or of_source == (self.stack == ENCODER)


@dataclass(frozen=True)
class Phases:
    """How the time of a model is made up.

    The quoted time is `first + tokens · last`; of one part alone that part.

    Attributes:
        parts: what prices are fitted for, one or two.
        quoted: what a target is asked for: the time of a `sentence`, of a `pass`, of a `text`.
        measured: phases of a benchmark, which composes the quoted time of them where it is not among them. The last
            part is what the quoted time takes beside the first, for each of its tokens.
    """

    parts: tuple[Part, ...]
    quoted: str
    measured: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parts."""
        return tuple(part.name for part in self.parts)

    @property
    def timed(self) -> tuple[str, ...]:
        """What each round gives a number of: all parts but the last, and the quoted time."""
        return (*self.names[:-1], self.quoted)

    def weights(self, tokens: float) -> Floats:
        """How often each part is in the quoted time."""
        return np.array([1.0, tokens][-len(self.parts) :])

    def times(self, parts: Sequence[float] | Floats, tokens: float) -> Times:
        """Times from those of the parts."""
        found = [float(part) for part in parts]
        return Times(dict(zip(self.names, found, strict=True)), self.total(found, tokens))

    def total(self, parts: Sequence[float], tokens: float) -> float:
        """The quoted time, from those of the parts."""
        return float(sum(parts[:-1]) + tokens * parts[-1])

    def split(self, milliseconds: Mapping[str, float], tokens: float) -> Times:
        """Times from what is `timed`."""
        first, total = [milliseconds[name] for name in self.names[:-1]], milliseconds[self.quoted]
        return Times(dict(zip(self.names, [*first, (total - sum(first)) / tokens], strict=True)), total)

    def rounds(self, milliseconds: Rounds) -> dict[str, tuple[float, ...]]:
        """What is `timed` in each round, from all that a benchmark gives of it."""
        return {name: tuple(milliseconds[name]) for name in self.timed}


TRANSLATION = Phases((Part("encoder", ENCODER), Part("token", DECODER)), "sentence", ("encoder", "sentence"))
TRANSCRIPTION = Phases((Part("encoder", ENCODER), Part("token", DECODER)), "recording", ("encoder", "recording"))
SENTENCES = Phases((Part("token"),), "sentence", ("sentence",))  # of runtimes that do not say how long a part takes


def composed(names: Sequence[str]) -> Phases | None:
    """The phases of a model whose quoted time a benchmark composes of others; None where there is none."""
    quoted = {name: parts for name, parts in composed_of(names).items() if PHASES[name].quoted}
    return next((Phases(tuple(map(Part, parts)), name, parts) for name, parts in quoted.items()), None)


def phases_of(model: nn.Module, runtime: str = "onnxruntime") -> Phases:
    """The phases of a model, from those that its exports for a runtime are timed by.

    Raises:
        InputError: the model has no graphs, or is timed by several phases of which none is known to be quoted.
    """
    where = runtime_named(runtime)
    there = where.phases if isinstance(where, ModelRuntime) else skeleton_of(model).phases
    for known in (TRANSLATION, TRANSCRIPTION, SENTENCES):
        if set(known.measured) <= set(there):
            return known
    if made := composed(there):
        return made
    if len(there) == 1:
        return Phases((Part(there[0]),), there[0], there)
    raise InputError(
        f"{type(model).__name__} is timed by {', '.join(there)}; expected one phase, "
        f"{', '.join(TRANSLATION.measured)}, or the parts of a composed phase that is quoted "
        "(tprune.bench.known_phases.PHASES)"
    )


def phases_from_json(data: Any) -> Phases:
    """Phases as a file holds them. Raises `ValueError` or `TypeError` for what are none."""
    found = Phases(tuple(Part(**part) for part in data["parts"]), data["quoted"], tuple(data["measured"]))
    words = (*found.names, found.quoted, *found.measured)
    if len(found.parts) not in (1, 2) or not found.measured or any(type(word) is not str for word in words):
        raise ValueError(f"phases {data!r:.200}")
    return found
