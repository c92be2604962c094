"""What translation needs of a run: sentences that fit, a tokeniser that knows them, a model that translates."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tprune.analysis.loss_curves import token_loss_on
from tprune.bench.harness import check_batch
from tprune.budget.samples import ALONE
from tprune.core.task import Batch, Examples
from tprune.data.parallel import Corpus, Parallel, check_parallel
from tprune.data.splits import Splits
from tprune.recipe.schema import Data, Recipe
from tprune.run.preparation import check_objective
from tprune.run.translation.own_score import hardly_translates, own_score
from tprune.tasks.metrics.bleu_tokenizer import doubts, fitting, metric
from tprune.tasks.translation.encoding import encode
from tprune.tasks.translation.long_lines import LongLines
from tprune.train.training_data import TrainingData
from tprune.vocabulary.coverage import guesses, unfamiliar


@dataclass(frozen=True)
class TranslationPreparation:
    """See `tprune.run.preparation.Preparation`.

    Attributes:
        task: translation, with the run's number of beams and tokeniser of BLEU.
    """

    task: Any

    def check_options(self, recipe: Recipe, trims: bool = False, trained: bool = False) -> None:
        """All options have a meaning; whether the objective is measured."""
        check_objective(self.task, recipe)

    def check_data(self, recipe: Recipe, corpus: Splits[Any]) -> None:
        """Sentence pairs, enough of them for a batch, and the tokeniser of BLEU, whose package may be missing."""
        for name, pairs in (("train", corpus.train), ("valid", corpus.valid), *corpus.tests.items()):
            check_parallel(pairs, name)
        check_batch(recipe.bench.batch, len(corpus.pooled_test()))
        metric(self.tokenizer(corpus))

    def tokenizer(self, corpus: Splits[Any]) -> str:
        """sacreBLEU's tokeniser that the run is scored with."""
        found: str = self.task.tokenize or fitting(corpus.pooled_test().target)
        return found

    def fitted(self, spec: Data, corpus: Splits[Any], model: Any, processor: Any) -> tuple[Splits[Any], list[str]]:
        """The sentences that are not too long."""
        pairs = Corpus(corpus.train, corpus.valid, corpus.tests)
        return LongLines(spec.long_lines, spec.long_share).fit_corpus(pairs, model, processor)

    def unfamiliar(self, sets: Sequence[Any], processor: Any) -> list[str]:
        """Warnings of sentences that the tokeniser was not made for."""
        return list(dict.fromkeys(line for pairs in sets for line in unfamiliar(pairs, processor)))

    def doubts(self, corpus: Splits[Any]) -> list[str]:
        """Warnings of a tokeniser of BLEU that does not fit the references."""
        return doubts(corpus.pooled_test().target, self.tokenizer(corpus))

    def warnings(self, model: Any, processor: Any, corpus: Splits[Any], data: TrainingData, given: bool) -> list[str]:
        """A loss that is a guess, and greedy translations that are hardly any."""
        found = []
        if given:
            found += guesses(token_loss_on(data.batches(data.valid, ALONE), data.task)(model), model.config.vocab_size)
        return found + hardly_translates(own_score(model, processor, corpus.valid, tokenize=self.task.tokenize))

    def sentences(self, data: Parallel) -> tuple[str, ...]:
        """The sources."""
        return data.source

    def batches(self, data: Any, processor: Any, model: Any) -> list[Batch]:
        """None: an export is checked on sentences."""
        return []

    def tests(self, data: Parallel, processor: Any, model: Any) -> Examples:
        """The pairs; references may be longer than what the model takes, for it does not read them."""
        return encode(data, processor, sys.maxsize)
