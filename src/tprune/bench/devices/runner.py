"""What runs a model on a device: which phases it can time, what it needs there, and how a round is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from tprune.bench.devices.device import CommandError, Device, DeviceError
from tprune.bench.work import Workload
from tprune.core.graph import BATCH, PAST, TOKENS, TOTAL
from tprune.runtimes.layout import Layout
from tprune.support.errors import InputError
from tprune.support.registry import Registry

ROUND_SECONDS = 300  # of one round, or what is asked of a runner at once
REASONS = {9: "; is there memory for it?", 14: f": a round takes longer than {ROUND_SECONDS} s"}  # of signals
SOURCE = "source"  # a free length: of the tokens that an encoder reads


@dataclass(frozen=True)
class Shot:
    """A phase as a device runs it: one graph, whose inputs are made up in these sizes."""

    graph: str
    sizes: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


Sizes = Callable[[Workload], Mapping[str, int]]
SIZES: Mapping[str, tuple[str | None, Sizes]] = {  # by phase; no graph is named where a model has one only
    "encoder": ("encoder", lambda work: {SOURCE: work.source}),
    "decoder_step": ("decoder", lambda work: {SOURCE: work.source, PAST: work.past}),
    "pass": (None, lambda work: {TOKENS: work.source, TOTAL: work.source, PAST: 0}),
    "prefill": (None, lambda work: {TOKENS: work.source, TOTAL: work.source, PAST: 0}),
    "step": (None, lambda work: {TOKENS: 1, TOTAL: work.past + 1, PAST: work.past}),
}


def shots_of(layout: Layout, phases: Sequence[str], work: Workload, batch: int) -> dict[str, Shot]:
    """How the phases of a model are run on a device.

    Raises:
        InputError: the model takes no inputs of the sizes in `work`.
    """
    found = {}
    for name in phases:
        graph, sizes = SIZES[name]
        asked = sizes(work)
        for free, size in asked.items():
            most = layout.limits.get(free)
            if most is not None and size > most:
                raise InputError(f"phase {name}: {size} {free} tokens; expected at most {most}, the model's positions")
        found[name] = Shot(graph or layout.graphs[0].name, {BATCH: batch, **asked})
    return found


@dataclass(frozen=True)
class Job:
    """What a round is made of.

    Attributes:
        place: the folder on the device in which all lies; the sides are folders in it.
        sides: their names, in the order of this round.
        shots: what is run, by phase.
        threads: of an operation.
        pinned: the words before a command that pin it to cores.
        turns: how often a phase's turn comes.
    """

    place: str
    sides: tuple[str, ...]
    shots: Mapping[str, Shot]
    threads: int
    pinned: tuple[str, ...]
    turns: int


@dataclass(frozen=True)
class Timed:
    """Milliseconds of one side's round by phase, and its process's memory in bytes (0: not known)."""

    ms: Mapping[str, float]
    peak: int
    before: int = 0


class Runner(Protocol):
    """What runs models on a device.

    Attributes:
        phases: that it can time.
        turns: how the two sides take turns, in words.
        logs: names of the files that it leaves in the job's folder.
    """

    @property
    def phases(self) -> Sequence[str]:
        """See the class."""
        ...

    @property
    def turns(self) -> str:
        """See the class."""
        ...

    @property
    def logs(self) -> Sequence[str]:
        """See the class."""
        ...

    def check(self, device: Device) -> Mapping[str, str]:
        """What it is, and its versions. Raises `InputError` where the device lacks it, saying what is needed."""
        ...

    def files(self, layouts: Mapping[str, Layout], shots: Mapping[str, Shot], made: Path) -> Mapping[str, Path]:
        """What it needs beside layouts and graphs: local files by their path in the job's folder; `made` is for those
        that are made for it.
        """
        ...

    def begin(self, device: Device, job: Job) -> None:
        """What is done once, when all files are there. Raises `DeviceError`."""
        ...

    def round(self, device: Device, job: Job) -> Mapping[str, Timed]:
        """Times both sides in turns. Raises `DeviceError`."""
        ...


RUNNERS: Registry[Callable[[str], Runner]] = Registry(
    "runner",
    "tprune.runners",
    {
        "python": "tprune.bench.devices.python_runner:runner",
        "perf-test": "tprune.bench.devices.perf_test:runner",
    },
)


def runner_of(name: str) -> Runner:
    """The runner that `--runner` names, and after a colon where it lies on the device.

    Raises:
        InputError: there is no such runner, or it needs to be told where it lies.
    """
    kind, _, path = name.partition(":")
    return RUNNERS.named(kind)(path)


def ended(device: Device, who: str, error: CommandError) -> DeviceError:
    """What to say where a program of a runner ended badly."""
    if error.signal is None:
        return DeviceError(f"{device.title}: {who} ended with code {error.code}: {error.said}")
    return DeviceError(f"{device.title}: {who} {killed(error.signal)}")


def killed(signal: int) -> str:
    """That something was killed, in words.

    Example:
        >>> killed(11)
        'was killed (signal 11)'
    """
    return f"was killed (signal {signal}){REASONS.get(signal, '')}"
