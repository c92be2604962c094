"""What summarisation needs of a run: as translation, without what is said of translations alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tprune.analysis.loss_curves import token_loss_on
from tprune.bench.harness import check_batch
from tprune.budget.samples import ALONE
from tprune.data.parallel import check_parallel
from tprune.data.splits import Splits
from tprune.recipe.schema import Recipe
from tprune.run.translation.preparation import TranslationPreparation
from tprune.tasks.metrics.rouge import doubts, scorer
from tprune.train.training_data import TrainingData
from tprune.vocabulary.coverage import guesses


@dataclass(frozen=True)
class SummaryPreparation(TranslationPreparation):
    """See `tprune.run.preparation.Preparation`."""

    def check_data(self, recipe: Recipe, corpus: Splits[Any]) -> None:
        """Documents with summaries, enough of them for a batch, and the package that scores them."""
        for name, pairs in (("train", corpus.train), ("valid", corpus.valid), *corpus.tests.items()):
            check_parallel(pairs, name)
        check_batch(recipe.bench.batch, len(corpus.pooled_test()))
        scorer()

    def unfamiliar(self, sets: Sequence[Any], processor: Any) -> list[str]:
        """None: documents are of one language, and what a side lacks says nothing."""
        return []

    def doubts(self, corpus: Splits[Any]) -> list[str]:
        """Warnings of references in a script that ROUGE does not know."""
        return list(doubts(corpus.pooled_test().target))

    def warnings(self, model: Any, processor: Any, corpus: Splits[Any], data: TrainingData, given: bool) -> list[str]:
        """A loss that is a guess."""
        if not given:
            return []
        loss = token_loss_on(data.batches(data.valid, ALONE), data.task)(model)
        return list(guesses(loss, model.config.vocab_size))
