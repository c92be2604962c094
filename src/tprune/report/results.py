"""What a run found, as an object; `results.json` holds the same under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tprune.bench.harness import Workload
from tprune.realise.certificate import Certificate
from tprune.support.errors import InputError
from tprune.support.files import read_json
from tprune.support.records import decoded, encoded
from tprune.tasks.metrics.translation import Paired

FILE = "results.json"
SENTENCE = "sentence"  # the measure that a speed is quoted of
ByMeasure = Mapping[str, float]


@dataclass(frozen=True)
class Ratio:
    """Dense over pruned: the median of the rounds, and its 95 % interval."""

    median: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        """From the lower to the upper end."""
        return self.low, self.high


@dataclass(frozen=True, kw_only=True)
class SideResults:
    """What the dense or the pruned model is: how good, how large, how fast.

    Attributes:
        bleu: on the test sentences, at the run's number of beams; `chrf` likewise.
        at_limit: the share of its translations that end at `limit` tokens; None for a run of before it was counted.
        macs: multiplications of 25 source and 25 target tokens.
        bytes: of its exported files.
        latency_ms: by runtime and measure.
        peak_memory: of the process that ran it, in bytes.
        tokens_per_sentence: that it wrote while it was timed.
    """

    bleu: float
    chrf: float
    at_limit: float | None = None
    limit: int | None = None
    parameters: int
    macs: int
    bytes: int
    latency_ms: Mapping[str, ByMeasure]
    peak_memory: int
    tokens_per_sentence: float


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Whether the machine was too busy for the speed to be quoted, and a sentence about it.

    `self_ratio` is by side, runtime and measure what a model's even rounds took over its odd ones.
    """

    noisy: bool
    says: str
    measure: str | None = None
    half_width: float | None = None
    self_ratio: Mapping[str, Mapping[str, ByMeasure]] | None = None


@dataclass(frozen=True)
class Signatures:
    """How the scores were computed, as sacreBLEU puts it."""

    bleu_signature: str
    chrf_signature: str


@dataclass(frozen=True)
class Outcome:
    """What was asked for and what the plan reaches, by unit; and how the recipe put it (None: a plan was given).

    Example:
        >>> Outcome({"macs": 50.0}, {"macs": 48.0}, "macs", 0.5).to_json()
        {'asked': {'macs': 50.0}, 'reached': {'macs': 48.0}, 'macs': 0.5}
    """

    asked: Mapping[str, float]
    reached: Mapping[str, float]
    unit: str | None = None
    value: float | None = None

    @property
    def speedup(self) -> float | None:
        """How much faster it was to be; None where something else was asked for."""
        return self.value if self.unit == "speedup" else None

    def to_json(self) -> dict[str, Any]:
        """As in the file, where the recipe's unit is a key."""
        in_recipe = {} if self.unit is None else {self.unit: self.value}
        return {"asked": dict(self.asked), "reached": dict(self.reached), **in_recipe}

    @staticmethod
    def fields_of(data: Any) -> Any:
        """The fields of an outcome by name, from what `to_json` gives; anything else as it is."""
        if not isinstance(data, dict):
            return data
        known = {key: data[key] for key in ("asked", "reached") if key in data}
        in_recipe = [{"unit": key, "value": value} for key, value in data.items() if key not in known]
        return {**known, **(in_recipe[-1] if in_recipe else {})}


@dataclass(frozen=True)
class Taught:
    """The teacher's translations that the pruned model learnt from; `at_limit` is the share that ends at `limit` tokens."""

    sentences: int
    at_limit: float
    limit: int


@dataclass(frozen=True)
class WrittenTokens:
    """How many tokens the pruned model writes, of how many before; translations are `longer` times as long with them."""

    written: int
    before: int
    longer: float


@dataclass(frozen=True)
class Exported:
    """How well an export agrees with PyTorch, and the bytes of its files."""

    max_relative_error: float
    greedy_equal: int
    beam_equal: int
    beam_ties: int
    sentences: int
    files: Mapping[str, int]


@dataclass(frozen=True)
class ExportedSides:
    """The exports of both models."""

    dense: Exported
    pruned: Exported


@dataclass(frozen=True)
class Protocol:
    """How the two were timed."""

    threads: int
    batch: int
    rounds: int
    work: Workload


@dataclass(frozen=True, kw_only=True)
class Training:
    """In which precision and with how many threads a run trained."""

    precision: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where it was measured."""

    cpu: str
    cores: int | None
    memory: int
    system: str
    python: str


@dataclass(frozen=True, kw_only=True)
class RunResults:
    """All that a finished run found. The fields have the names and the order of `results.json`.

    Attributes:
        dense: the model that was given or trained, `pruned` what became of it.
        speedup: by runtime and measure; `speedup_interval` has the 95 % intervals. Read them with `ratio`.
        bleu_difference: pruned minus dense.
        target: what was asked for and reached.
        taught: what the teacher's translations were like, where there were any.
        spelling: which tokens the pruned model writes, where it may not write all.
        beams: of the translations that were scored.
        model: the name of the dense model; None for a run of before it was noted.
    """

    dense: SideResults
    pruned: SideResults
    speedup: Mapping[str, ByMeasure]
    speedup_interval: Mapping[str, Mapping[str, tuple[float, float]]]
    noise: Noise
    bleu_difference: Paired
    signatures: Signatures
    target: Outcome
    taught: Taught | None = None
    spelling: WrittenTokens | None = None
    certificate: Certificate
    export: ExportedSides
    beams: int
    bench: Protocol
    seed: int | None
    training: Training | None
    command: str
    commit: str | None
    versions: Mapping[str, str]
    machine: Machine
    model: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def runtime(self) -> str:
        """The runtime that both were exported for."""
        return next(iter(self.speedup))

    @property
    def sentence(self) -> Ratio:
        """How much faster the pruned model translates a sentence."""
        return self.ratio(self.runtime)

    @property
    def sides(self) -> dict[str, SideResults]:
        """Both models by name."""
        return {"dense": self.dense, "pruned": self.pruned}

    def ratio(self, runtime: str, measure: str = SENTENCE) -> Ratio:
        """How much faster the pruned model is in a runtime."""
        return Ratio(self.speedup[runtime][measure], *self.speedup_interval[runtime][measure])

    def per_token(self, runtime: str) -> float:
        """The speedup of a sentence times the tokens written, pruned over dense: speed without the effect of length."""
        tokens = self.pruned.tokens_per_sentence / max(1e-9, self.dense.tokens_per_sentence)
        return self.ratio(runtime).median * tokens

    def to_json(self) -> dict[str, Any]:
        """The content of `results.json`."""
        return {**encoded(self), "target": self.target.to_json()}

    @staticmethod
    def from_json(data: object) -> RunResults:
        """What `to_json` gave, of this version or an earlier one.

        Raises:
            ValueError: something is missing, or is not what a run writes; says where and what.
        """
        if isinstance(data, dict) and "target" in data:
            data = {**data, "target": Outcome.fields_of(data["target"])}
        found = decoded(RunResults, data)
        if not found.speedup or found.speedup.keys() != found.speedup_interval.keys():
            raise ValueError("speedup and speedup_interval have not the same runtimes, or none")
        return found


def unlike(run: Path, what: str) -> InputError:
    """The error about a run whose results are damaged."""
    return InputError(
        f"{run}: its results are not what a run writes ({what}); delete {run / FILE} and give the run's command again, "
        "which measures nothing twice"
    )


def finished(run: Path) -> RunResults:
    """The results of a run. Raises `InputError` where there are none yet, or they are damaged; says what is wrong."""
    data = read_json(run / FILE)
    try:
        return RunResults.from_json(data)
    except ValueError as error:
        raise unlike(run, str(error)) from None
