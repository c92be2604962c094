"""What a run asks beside its task.

Do its options fit, what is the data as the model takes it, and what is to be said of the dense model?
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tprune.analysis.divergence import check_distribution
from tprune.core.data import evenly, sampled
from tprune.core.objectives import DEFAULT, objective_rule
from tprune.core.task import Batch, Examples, Task, WritesSentences
from tprune.data.splits import Splits
from tprune.recipe.schema import Data, Recipe
from tprune.runtimes.export import ENOUGH
from tprune.support.errors import InputError
from tprune.tasks.padding import pad_of
from tprune.tasks.scoring import poor, scores
from tprune.train.training_data import TrainingData

FEW = 256  # validation examples that the dense model is scored on


class Preparation(Protocol):
    """What a task needs of a run before and after its model is compressed."""

    @property
    def task(self) -> Task:
        """The task."""
        ...

    def check_options(self, recipe: Recipe, trims: bool = False, trained: bool = False) -> None:
        """Raises `InputError` for options that mean nothing for the task.

        Args:
            recipe: of the run.
            trims: whether the vocabulary is to be trimmed.
            trained: whether the run trains the model itself.
        """
        ...

    def check_data(self, recipe: Recipe, corpus: Splits[Any]) -> None:
        """Raises `InputError` for data of another task, or too little of it."""
        ...

    def fitted(self, spec: Data, corpus: Splits[Any], model: Any, processor: Any) -> tuple[Splits[Any], list[str]]:
        """The data that the model can take, and what became of the rest."""
        ...

    def unfamiliar(self, sets: Sequence[Any], processor: Any) -> list[str]:
        """Warnings of data that the processor was not made for."""
        ...

    def doubts(self, corpus: Splits[Any]) -> list[str]:
        """Why scores of this test data may say little."""
        ...

    def warnings(self, model: Any, processor: Any, corpus: Splits[Any], data: TrainingData, given: bool) -> list[str]:
        """Warnings of a dense model that hardly does its task; `given`: it was not trained in the run."""
        ...

    def sentences(self, data: Any) -> tuple[str, ...]:
        """The texts of a data set that searches are timed and checked on; none where nothing is searched for."""
        ...

    def batches(self, data: Any, processor: Any, model: Any) -> list[Batch]:
        """Batches of a few items that an export is checked on; none where sentences do."""
        ...

    def tests(self, data: Any, processor: Any, model: Any) -> Examples:
        """The test data, encoded to be scored."""
        ...


@dataclass(frozen=True)
class OnePassPreparation:
    """A task whose models say everything in one pass.

    Attributes:
        task: the task.
    """

    task: Task

    def check_options(self, recipe: Recipe, trims: bool = False, trained: bool = False) -> None:
        """Whether nothing is asked for that only models have which write sentences."""
        check_objective(self.task, recipe)
        for option, why in _unfit(recipe, trims, trained):
            raise InputError(f"{option}: {self.task.name} {why}")

    def check_data(self, recipe: Recipe, corpus: Splits[Any]) -> None:
        """Nothing: encoding says what does not fit."""

    def fitted(self, spec: Data, corpus: Splits[Any], model: Any, processor: Any) -> tuple[Splits[Any], list[str]]:
        """The data as it is: encoding makes it fit, and says how."""
        return corpus, []

    def unfamiliar(self, sets: Sequence[Any], processor: Any) -> list[str]:
        """None: of other data than text nobody can say so."""
        return []

    def doubts(self, corpus: Splits[Any]) -> list[str]:
        """None that are known before there are predictions."""
        return []

    def warnings(self, model: Any, processor: Any, corpus: Splits[Any], data: TrainingData, given: bool) -> list[str]:
        """What became of examples that do not fit, and a score no better than a baseline's."""
        some = self.task.encode(evenly(corpus.valid, FEW), processor, model)
        found = scores(self.task, self.task.predict(model, some, data.pad), some)
        known = self.task.baselines(data.train, some)
        baselines = {name: scores(self.task, each, some)[0] for name, each in known.items()}
        return [*data.notes, *(f"the dense model on validation data: {line}" for line in poor(found, baselines))]

    def sentences(self, data: Any) -> tuple[str, ...]:
        """None."""
        return ()

    def batches(self, data: Any, processor: Any, model: Any) -> list[Batch]:
        """One batch."""
        some = self.task.encode(data, processor, model)
        return [self.task.collate([some[i] for i in range(min(ENOUGH, len(some)))], pad_of(model))]

    def tests(self, data: Any, processor: Any, model: Any) -> Examples:
        """The test data as the task encodes it."""
        return self.task.encode(data, processor, model)


def some_of(data: Any) -> Any:
    """A few items that an export is checked on."""
    return data.picked(sampled(len(data), ENOUGH))


def check_objective(task: Task, recipe: Recipe) -> None:
    """Whether the objective that is asked for is measured, and can be.

    Args:
        task: of the run.
        recipe: its settings.

    Raises:
        InputError: nothing is measured to share the budget, or models of the task give no distribution.
    """
    how = recipe.prune
    if how.objective == DEFAULT:
        return
    if not how.by_loss:
        raise InputError(
            f"prune.objective {how.objective}: nothing is measured with prune.allocation {how.allocation}; expected "
            "allocation: loss, or a time or memory as the target"
        )
    if objective_rule(how.objective).compares:
        check_distribution(task)


def _unfit(recipe: Recipe, trims: bool, trained: bool) -> Iterator[tuple[str, str]]:
    """Options of a recipe that mean something for models that write sentences alone, and why."""
    for name, section in (("prune", recipe.prune), ("recover", recipe.recover)):
        if section.translates:
            yield f"{name}.sequence_distillation {section.sequence_distillation:g}", "has no pseudo-targets"
    if recipe.prune.output_vocabulary is not None:
        yield f"prune.output_vocabulary {recipe.prune.output_vocabulary}", "has no output vocabulary to make smaller"
    if recipe.bleu_tokenize is not None:
        yield f"bleu_tokenize {recipe.bleu_tokenize}", "is not scored by BLEU"
    if trims:
        yield "--trim-vocab", "has no vocabulary of two languages to trim"
    if trained:
        yield "model", "needs a trained model; a recipe trains models for translation alone (give one: --model)"


def preparation_of(task: Task) -> Preparation:
    """What a task needs of a run."""
    if isinstance(task, WritesSentences):
        from tprune.run.translation.preparation import TranslationPreparation
        from tprune.run.translation.summaries import SummaryPreparation
        from tprune.tasks.summarisation import Summarisation

        if isinstance(task, Summarisation):
            return SummaryPreparation(task)
        return TranslationPreparation(task)
    return OnePassPreparation(task)
