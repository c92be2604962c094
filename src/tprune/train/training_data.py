"""The data that all steps share: encoded sentences, pseudo-targets, and how a stage trains on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase, TrainerCallback

from tprune.core.known_tasks import task_of
from tprune.core.task import Batch, Task
from tprune.data.parallel import Parallel, check_parallel, sampled
from tprune.tasks.batches import TokenBatches
from tprune.tasks.translation.encoding import EncodedPairs, encode, max_length
from tprune.train.losses import MixedTargets, Width
from tprune.train.schedule import TrainingConfig
from tprune.train.trainer import dropout_at, train
from tprune.vocabulary.output_vocabulary import Resegmentation

SAVE_EVERY = 100  # steps between the checkpoints that a killed stage goes on from


@dataclass(frozen=True)
class TrainingData:
    """The sentences and settings that all steps share.

    `pseudo_targets` are the training sources with the teacher's translations as targets.
    """

    task: Task
    train: EncodedPairs
    valid: EncodedPairs
    pad: int = 0
    seed: int = 0
    precision: str = "auto"
    callbacks: tuple[TrainerCallback, ...] = ()
    pseudo_targets: EncodedPairs | None = None

    @staticmethod
    def of(
        model: Any, tokenizer: PreTrainedTokenizerBase, train: Parallel, valid: Parallel, **settings: Any
    ) -> TrainingData:
        """Encodes both sets for a model. Raises `InputError` naming a sentence that is too long for it."""
        for name, pairs in (("train", train), ("valid", valid)):
            check_parallel(pairs, name)
        limit = max_length(model)
        pad = int(model.config.pad_token_id)
        return TrainingData(
            task_of(model), encode(train, tokenizer, limit), encode(valid, tokenizer, limit), pad, **settings
        )

    def resegmented(self, resegmentation: Resegmentation, model: Any) -> TrainingData:
        """The same sentences with all targets resegmented."""
        limit = max_length(model)
        pseudo_targets = None if self.pseudo_targets is None else resegmentation.of_pairs(self.pseudo_targets, limit)
        train, valid = (resegmentation.of_pairs(pairs, limit) for pairs in (self.train, self.valid))
        return replace(self, train=train, valid=valid, pseudo_targets=pseudo_targets)

    def run(
        self, model: Any, how: TrainingConfig, work: Path, *, teacher: Any = None, width: Width | None = None,
        callbacks: Sequence[TrainerCallback] = (), save_every: int = 0,
    ) -> list[dict[str, float]]:  # fmt: skip
        """Trains a model in place for one stage, in the precision and by the seed of all of them.

        Without a teacher, all weights of distillation are 0.

        Raises:
            InputError: `sequence` asks for translations that were not made, or `hidden` for states that do not match.
        """
        how = replace(how, precision=self.precision, seed=self.seed)
        if teacher is None:
            how = replace(how, distill=0.0, hidden=0.0, sequence=0.0, rewind=0)
        data: EncodedPairs | MixedTargets = self.train
        if how.sequence and self.pseudo_targets is not None:
            data = MixedTargets(self.train, self.pseudo_targets)
        with dropout_at(model, how.dropout):
            return train(
                model, data, self.valid, how, work, teacher=teacher, width=width,
                callbacks=[*self.callbacks, *callbacks], save_every=save_every,
            )  # fmt: skip

    def batches(self, data: EncodedPairs, most: int | None = None, tokens: int = 1000) -> list[Batch]:
        """Batches of a set, or of `most` sentences evenly spaced over it; small ones, for little padding."""
        picked = np.linspace(0, len(data) - 1, min(most or len(data), len(data))).astype(int)
        return [
            self.task.collate([data[int(picked[i])] for i in rows], self.pad)
            for rows in TokenBatches(data.lengths[picked], tokens)
        ]

    def batch(self, sentences: int = 8) -> Batch:
        """Some validation sentences, drawn at random and so of unequal length, as one padded batch."""
        rows = [self.valid[i] for i in sampled(len(self.valid), sentences, self.seed)]
        return self.task.collate(rows, self.pad)
