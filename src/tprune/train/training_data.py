"""The data that all steps share: encoded examples, pseudo-targets, and how a stage trains on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from tprune.core.data import Data, sampled, spread
from tprune.core.task import Batch, Examples, Task
from tprune.support.errors import InputError
from tprune.tasks.batches import TokenBatches
from tprune.tasks.padding import pad_of
from tprune.tasks.translation.encoding import EncodedPairs, max_length
from tprune.train.losses import MixedTargets, Width
from tprune.train.schedule import TrainingConfig
from tprune.train.trainer import dropout_at, train
from tprune.vocabulary.output_vocabulary import Resegmentation

SAVE_EVERY = 100  # steps between the checkpoints that a killed stage goes on from


@dataclass(frozen=True)
class TrainingData:
    """The encoded examples and the settings that all steps share.

    Attributes:
        task: what the model is for.
        train: what is trained on.
        valid: what losses and certificates are of.
        pad: the id of padding.
        seed: of batches and dropout.
        precision: of training.
        callbacks: of every training.
        pseudo_targets: the training sources with the teacher's outputs as targets.
    """

    task: Task
    train: Examples
    valid: Examples
    pad: int = 0
    seed: int = 0
    precision: str = "auto"
    callbacks: tuple[TrainerCallback, ...] = ()
    pseudo_targets: Examples | None = None

    @staticmethod
    def of(task: Task, model: Any, processor: Any, train: Data, valid: Data, **settings: Any) -> TrainingData:
        """Encodes both sets for a model.

        Args:
            task: what the model is for.
            model: whose limits and classes count.
            processor: of `Task.processor`: a tokeniser, or image preprocessing.
            train: what is trained on.
            valid: what losses and certificates are of.
            settings: further fields, such as `seed`.

        Raises:
            InputError: no data of this task, or an item that the model cannot take, by file and line.
        """
        for name, given in (("train", train), ("valid", valid)):
            if not isinstance(given, Data):
                raise InputError(f"{name}: {type(given).__name__}; expected data, as a task reads it")
        known, chosen = (task.encode(data, processor, model) for data in (train, valid))
        return TrainingData(task, known, chosen, pad_of(model), **settings)

    @property
    def notes(self) -> tuple[str, ...]:
        """What became of examples that do not fit the model."""
        return tuple(dict.fromkeys((*self.train.notes, *self.valid.notes)))

    def resegmented(self, resegmentation: Resegmentation, model: Any) -> TrainingData:
        """The same sentences with all targets resegmented.

        Raises `InputError` for examples that are no sentence pairs.
        """
        limit = max_length(model)

        def again(pairs: Examples) -> Examples:
            return resegmentation.of_pairs(_pairs(pairs), limit)

        pseudo_targets = None if self.pseudo_targets is None else again(self.pseudo_targets)
        return replace(self, train=again(self.train), valid=again(self.valid), pseudo_targets=pseudo_targets)

    def run(
        self,
        model: Any,
        how: TrainingConfig,
        work: Path,
        *,
        teacher: Any = None,
        width: Width | None = None,
        callbacks: Sequence[TrainerCallback] = (),
        save_every: int = 0,
    ) -> list[dict[str, float]]:
        """Trains a model in place for one stage, in the precision and by the seed of all of them.

        Without a teacher, all weights of distillation are 0.

        Raises:
            InputError: `sequence` asks for pseudo-targets that were not made, or `hidden` for states that do not match.
        """
        how = replace(how, precision=self.precision, seed=self.seed)
        if teacher is None:
            how = replace(how, distill=0.0, hidden_distillation=0.0, sequence_distillation=0.0, rewind=0)
        data: Examples = self.train
        if how.sequence_distillation and self.pseudo_targets is not None:
            data = MixedTargets(_pairs(self.train), _pairs(self.pseudo_targets))
        settings = {"teacher": teacher, "width": width, "save_every": save_every, "task": self.task}
        with dropout_at(model, how.dropout):
            return train(model, data, self.valid, how, work, callbacks=[*self.callbacks, *callbacks], **settings)

    def batches(self, data: Examples, most: int | None = None, tokens: int = 1000) -> list[Batch]:
        """Batches of a set, or of `most` examples evenly spaced over it; small ones, for little padding."""
        picked = spread(len(data), most or len(data))
        return [
            self.task.collate([data[picked[i]] for i in rows], self.pad)
            for rows in TokenBatches(data.lengths[list(picked)], tokens)
        ]

    def batch(self, examples: int = 8) -> Batch:
        """Some validation examples, drawn at random and so of unequal length, as one padded batch."""
        rows = [self.valid[i] for i in sampled(len(self.valid), examples, self.seed)]
        return self.task.collate(rows, self.pad)


def _pairs(examples: Examples) -> EncodedPairs:
    if not isinstance(examples, EncodedPairs):
        raise InputError(f"{type(examples).__name__}: only sentence pairs have pseudo-targets and can be resegmented")
    return examples
