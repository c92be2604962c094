"""What a compression starts from and has come to: the state that the steps of `tprune.run.sequence` pass on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tprune.analysis import Analysis
from tprune.budget.dense_timing import DenseTiming
from tprune.budget.evidence import Evidence, ModelAndTokenizer
from tprune.core.plan import Plan
from tprune.costs.latency.subject import Inputs
from tprune.costs.latency.table import TimingConfig
from tprune.data.splits import Splits
from tprune.realise.certificate import Certificate
from tprune.recipe.schema import Prune, Recipe
from tprune.run.stage import planned
from tprune.support.reporting import Report, silent
from tprune.train.training_data import TrainingData
from tprune.vocabulary.output_vocabulary import Resegmentation


def tokenizer_of(processor: Any) -> Any:
    """A processor that is a tokeniser, or the one in a processor of speech; None for another, or for none."""
    found = processor if hasattr(processor, "get_vocab") else getattr(processor, "exported_tokenizer", None)
    return found if hasattr(found, "get_vocab") else None


@dataclass(frozen=True)
class Start:
    """What a compression starts from.

    Attributes:
        dense: the model to make smaller, which is the teacher too; no step changes it.
        processor: its own: a tokeniser, or image preprocessing.
        corpus: data that the model can take.
        recipe: its sections `analyze`, `prune` and `recover` say how.
        setting: what is timed, where a time or memory is asked for.
        folder: for checkpoints and the teacher's translations: a run directory, or a temporary one.
        report: is told about long work.
        note: is told what a step found.
        given: the file of a plan that says what is kept, where that was decided before.
        before: loads the model before its vocabulary was trimmed, and its tokeniser; None where it was not.
        sentences: the validation sentences, which searches are timed on; none where nothing is searched for.
    """

    dense: Any
    processor: Any
    corpus: Splits[Any]
    recipe: Recipe
    setting: TimingConfig
    folder: Path
    report: Report = silent
    note: Report = silent
    given: Path | None = None
    before: Callable[[], ModelAndTokenizer] | None = None
    sentences: tuple[str, ...] = ()

    @property
    def tokenizer(self) -> Any:
        """What an export writes beside the graphs: the processor, where it is a tokeniser."""
        return tokenizer_of(self.processor)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages that this recipe needs."""
        return planned(self.recipe, self.before is not None, self.given is not None)

    @property
    def translations(self) -> Path:
        """Where the teacher's translations are kept."""
        return self.folder / "taught"

    def checkpoints(self, stage: str) -> Path:
        """Where a stage keeps its checkpoints."""
        return self.folder / "work" / stage


@dataclass(frozen=True)
class Work:
    """What a compression has come to.

    Attributes:
        start: what it started from.
        material: the encoded data; with the teacher's translations, once these are made.
        how: to prune; a size counts from the model before it lost words, once it is known which it loses.
        writer: the dense model; where it is to write fewer tokens, one that does.
        plan: couplings, method and strength, before selection.
        goal: with the number of groups that each coupling keeps; until it is chosen, the plan.
        final: with the groups that are left after training; until then, the plan.
        spelling: which tokens are written, where these are fewer than all.
        evidence: that that a budget shared by loss needs.
        measured: milliseconds of the sizes that the evidence leads to, where a time is asked for.
        analysis: of the dense model, where one is asked for.
        made: the model as far as it is made: regularised, cut, recovered.
        certificate: of the cut.
        losses: on validation data, of `dense`, `cut` and `recovered`, in nats per output of the dense model.
    """

    start: Start
    material: TrainingData
    how: Prune
    writer: Any
    plan: Plan
    goal: Plan
    final: Plan
    spelling: Resegmentation | None = None
    evidence: Evidence | None = None
    measured: float | None = None
    analysis: Analysis | None = None
    made: Any = None
    certificate: Certificate | None = None
    losses: Mapping[str, float] = field(default_factory=dict)

    @property
    def inputs(self) -> Inputs:
        """What is timed: the validation sentences of a task that searches, else its encoded validation data."""
        return self.start.sentences or self.material.valid

    @property
    def dense_timing(self) -> DenseTiming:
        """The dense model, and how it is timed."""
        start, task = self.start, self.material.task
        return DenseTiming(start.dense, start.tokenizer, self.inputs, start.setting, task, start.report)
