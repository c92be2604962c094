"""What a run found, as an object; `results.json` holds the same under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tprune.bench.harness import Workload
from tprune.bench.known_phases import reported
from tprune.core.score import Difference, Metric, Score
from tprune.core.words import Words, words_for
from tprune.realise.certificate import Certificate
from tprune.report.old_results import now
from tprune.report.sides import ByMeasure, PrecisionRow, Ratio, SideResults
from tprune.support.errors import InputError
from tprune.support.files import read_json
from tprune.support.records import decoded, encoded

FILE = "results.json"


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
class Outcome:
    """What was asked for and what the plan reaches, by unit; and how the recipe put it (None: a plan was given).

    Example:
        >>> Outcome({"macs": 50.0}, {"macs": 48.0}, "macs", 0.5).to_dict()
        {'asked': {'macs': 50.0}, 'reached': {'macs': 48.0}, 'macs': 0.5}
    """

    asked: Mapping[str, float]
    reached: Mapping[str, float]
    unit: str | None = None
    value: float | None = None

    @property
    def timed(self) -> str | None:
        """What a time was asked for: a `sentence`, a `pass`, a `text`; None where something else was."""
        return next((unit.removesuffix("_ms") for unit in self.asked if unit.endswith("_ms")), None)

    @property
    def speedup(self) -> float | None:
        """How much faster it was to be; None where something else was asked for."""
        return self.value if self.unit == "speedup" else None

    def to_dict(self) -> dict[str, Any]:
        """As in the file, where the recipe's unit is a key."""
        in_recipe = {} if self.unit is None else {self.unit: self.value}
        return {"asked": dict(self.asked), "reached": dict(self.reached), **in_recipe}

    @staticmethod
    def fields_of(data: Any) -> Any:
        """The fields of an outcome by name, from what `to_dict` gives; anything else as it is."""
        if not isinstance(data, dict):
            return data
        known = {key: data[key] for key in ("asked", "reached") if key in data}
        in_recipe = [{"unit": key, "value": value} for key, value in data.items() if key not in known]
        return {**known, **(in_recipe[-1] if in_recipe else {})}


@dataclass(frozen=True)
class PseudoTargets:
    """The teacher's translations that the pruned model learnt from.

    `at_limit` is the share that ends at `limit` tokens.
    """

    sentences: int
    at_limit: float
    limit: int


@dataclass(frozen=True)
class WrittenTokens:
    """How many tokens the pruned model writes, of how many before.

    Translations are `longer` times as long with them.
    """

    written: int
    before: int
    longer: float


@dataclass(frozen=True)
class Exported:
    """How well an export agrees with PyTorch, and the bytes of its files.

    The counts are of a translation model's sentences; `inputs` and `steps` of what else was compared.
    """

    max_relative_error: float
    greedy_equal: int
    beam_equal: int
    beam_ties: int
    sentences: int
    files: Mapping[str, int]
    inputs: int = 0
    steps: int = 0


@dataclass(frozen=True)
class ExportedSides:
    """The exports of both models."""

    dense: Exported
    pruned: Exported


@dataclass(frozen=True)
class Protocol:
    """How the two were timed.

    `composed` are the phases that are not measured themselves, with how often each of their parts is in them.
    """

    threads: int
    batch: int
    rounds: int
    work: Workload
    composed: Mapping[str, Mapping[str, int]] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainedWith:
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
        task: what they are for.
        speedup: by runtime and phase; `speedup_interval` has the 95 % intervals. Read them with `ratio`.
        metric: that they are compared by.
        difference: in it, pruned minus dense.
        baselines: by name the first score of what knows only the frequencies of the training data.
        target: what was asked for and reached.
        taught: what the teacher's translations were like, where there were any.
        spelling: which tokens the pruned model writes, where it may not write all.
        beams: of the search for what was scored; None where nothing is searched for.
        model: the name of the dense model; None for a run of before it was noted.
        precision: in which the pruned model is to be used.
        rows: both models in every precision, timed in the same rounds; none in a run of before there were precisions.
        refused: why there is no row, by its name.
    """

    dense: SideResults
    pruned: SideResults
    speedup: Mapping[str, ByMeasure]
    speedup_interval: Mapping[str, Mapping[str, tuple[float, float]]]
    noise: Noise
    metric: str
    difference: Difference
    target: Outcome
    taught: PseudoTargets | None = None
    spelling: WrittenTokens | None = None
    certificate: Certificate
    export: ExportedSides
    beams: int | None
    bench: Protocol
    seed: int | None
    training: TrainedWith | None
    command: str
    commit: str | None
    versions: Mapping[str, str]
    machine: Machine
    model: str | None = None
    warnings: tuple[str, ...] = ()
    task: str = "translation"
    baselines: Mapping[str, Score] = field(default_factory=dict)
    precision: str = "fp32"
    rows: tuple[PrecisionRow, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> Words:
        """What the task calls its examples."""
        return words_for(self.task)

    @property
    def scored_by(self) -> Metric:
        """The metric that both are compared by."""
        return self.difference.metric

    @property
    def phase(self) -> str:
        """The phase that a speed is quoted of."""
        return reported(self.speedup[self.runtime])

    @property
    def runtime(self) -> str:
        """The runtime that both were exported for."""
        return next(iter(self.speedup))

    @property
    def faster(self) -> Ratio:
        """How much faster the pruned model is in the quoted phase."""
        return self.ratio(self.runtime)

    @property
    def sides(self) -> dict[str, SideResults]:
        """Both models by name."""
        return {"dense": self.dense, "pruned": self.pruned}

    def ratio(self, runtime: str, phase: str | None = None) -> Ratio:
        """How much faster the pruned model is in a runtime, in a phase; in the quoted one if none is given."""
        name = phase or reported(self.speedup[runtime])
        return Ratio(self.speedup[runtime][name], *self.speedup_interval[runtime][name])

    def per_token(self, runtime: str) -> float:
        """The speedup of a sentence times the tokens written, pruned over dense: speed without the effect of length."""
        return self.ratio(runtime).median * self.longer

    @property
    def longer(self) -> float:
        """Tokens that the pruned model writes over those of the dense one; 1 where neither writes any."""
        if not self.dense.tokens_per_sentence:
            return 1.0
        return self.pruned.tokens_per_sentence / self.dense.tokens_per_sentence

    def to_dict(self) -> dict[str, Any]:
        """The content of `results.json`."""
        return {**encoded(self), "target": self.target.to_dict()}

    @staticmethod
    def from_dict(data: object) -> RunResults:
        """What `to_dict` gave, of this version or an earlier one.

        Raises:
            ValueError: something is missing, or is not what a run writes; says where and what.
        """
        if isinstance(data, dict):
            data = now(data)
            if "target" in data:
                data = {**data, "target": Outcome.fields_of(data["target"])}
        found = decoded(RunResults, data)
        if not found.speedup or found.speedup.keys() != found.speedup_interval.keys():
            raise ValueError("speedup and speedup_interval have not the same runtimes, or none")
        for name, side in found.sides.items():
            if found.metric not in side.scores:
                raise ValueError(f"{name}.scores has no {found.metric}, the metric of the run")
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
        return RunResults.from_dict(data)
    except ValueError as error:
        raise unlike(run, str(error)) from None
