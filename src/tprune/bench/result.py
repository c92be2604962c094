"""What a benchmark found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from tprune.bench.known_phases import composed_of, reported
from tprune.bench.statistics import half_width, median_interval, noise, quartiles, self_ratio
from tprune.bench.work import Workload
from tprune.support.machine import machine, versions

PROTOCOL = (
    "new processes in every round, pinned to the same cores where the system can; sides take turns by the sentence"
)
Side = Mapping[str, Sequence[float]]  # measure → one number a round


@dataclass(frozen=True)
class Footprint:
    """What one side weighs: generated tokens a sentence, bytes on disk and in memory, parameters and multiplications.

    `peak_memory` is that of its process, `memory_before_load` what the process took before it opened the model, `macs`
    are for the example of its task (25 source and 25 target tokens). Models that write no sentences have 0 tokens a
    sentence.
    """

    tokens_per_sentence: float
    bytes: int
    peak_memory: int
    memory_before_load: int
    parameters: int
    macs: int


@dataclass(frozen=True)
class BenchResult:
    """Medians over rounds, in milliseconds, of the dense and the pruned model; keys are phases, see `Workload`.

    `ratios` are dense / pruned of each round, `speedup` their median, `interval` a 95 % interval of that median,
    `spread` the quartiles of each side's milliseconds. `noisy` says that the interval of the `reported` ratio reaches
    farther than ±3 %; what else was timed has no say in it. `self_ratio` is a side's even rounds over its odd rounds:
    how the machine drifted, most of which ratios of the same round do not see. Models that write unequally many tokens
    a sentence do unequal work: see `footprint`.
    """

    latency_ms: Mapping[str, Mapping[str, float]]
    spread: Mapping[str, Mapping[str, tuple[float, float]]]
    ratios: Mapping[str, Sequence[float]]
    speedup: Mapping[str, float]
    interval: Mapping[str, tuple[float, float]]
    self_ratio: Mapping[str, Mapping[str, float]]
    noisy: bool
    noise: str
    footprint: Mapping[str, Footprint]
    threads: int
    batch: int
    rounds: int
    work: Workload
    machine: Mapping[str, Any]
    runtime: str = "onnxruntime"
    rounds_ms: Mapping[str, Side] = field(default_factory=dict)  # of each side, every round

    @property
    def reported(self) -> str:
        """The phase that a speed is quoted of, and that `noisy` judges: whole sentences where they were timed."""
        return reported(self.interval)

    @property
    def composed(self) -> dict[str, dict[str, int]]:
        """The phases whose time is composed of others, and how often each of these is in it."""
        often, found = self.work.new_tokens, composed_of(self.interval)
        return {} if often is None else {name: {first: 1, last: often} for name, (first, last) in found.items()}

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the runtime's name between side and measure."""
        name = self.runtime
        return {
            "latency_ms": {side: {name: dict(values)} for side, values in self.latency_ms.items()},
            "spread": {side: {name: {k: list(v) for k, v in x.items()}} for side, x in self.spread.items()},
            "speedup": {name: dict(self.speedup)},
            "ratios": {name: {key: list(value) for key, value in self.ratios.items()}},
            "speedup_interval": {name: {key: list(value) for key, value in self.interval.items()}},
            "noise": {
                "noisy": self.noisy,
                "says": self.noise,
                "measure": self.reported,
                "half_width": half_width(self.interval[self.reported]),
                "self_ratio": {side: {name: dict(values)} for side, values in self.self_ratio.items()},
            },
            **{
                each.name: {side: getattr(weight, each.name) for side, weight in self.footprint.items()}
                for each in fields(Footprint)
            },
            "threads": self.threads,
            "batch": self.batch,
            "rounds": self.rounds,
            "protocol": PROTOCOL,
            "work": asdict(self.work),
            "composed": self.composed or None,
            "machine": dict(self.machine),
        }


def result_of(
    times: Mapping[str, Side],
    footprint: Mapping[str, Footprint],
    threads: int,
    batch: int,
    work: Workload,
    runtime: str,
    cores: Sequence[int] = (),
) -> BenchResult:
    """The result of two sides' rounds, `dense` and `pruned`, in milliseconds by phase."""
    ratios = {
        name: [dense / pruned for dense, pruned in zip(times["dense"][name], times["pruned"][name], strict=True)]
        for name in times["dense"]
    }
    interval = {name: median_interval(each) for name, each in ratios.items()}
    halves = {side: {name: self_ratio(values) for name, values in names.items()} for side, names in times.items()}
    noisy, says = noise(interval, len(next(iter(ratios.values()))))
    return BenchResult(
        latency_ms={side: {k: float(np.median(v)) for k, v in names.items()} for side, names in times.items()},
        spread={side: {k: quartiles(v) for k, v in names.items()} for side, names in times.items()},
        ratios=ratios,
        speedup={name: float(np.median(ratio)) for name, ratio in ratios.items()},
        interval=interval,
        self_ratio=halves,
        noisy=noisy,
        noise=says,
        footprint=footprint,
        threads=threads,
        batch=batch,
        rounds=len(next(iter(ratios.values()))),
        work=work,
        machine={**machine(), **versions(), "pinned_to": list(cores)},
        runtime=runtime,
        rounds_ms={side: {name: tuple(values) for name, values in names.items()} for side, names in times.items()},
    )
