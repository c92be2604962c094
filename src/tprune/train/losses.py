"""Losses and targets of distillation: word distributions, hidden states, and pseudo-targets of a dense teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from tprune.core.kinds import WIDTH
from tprune.core.known_tasks import task_of
from tprune.core.labels import IGNORED
from tprune.core.plan import Plan
from tprune.core.task import HasStates, States, Task
from tprune.support.errors import InputError
from tprune.support.papers import cites
from tprune.tasks.batches import TokenBatches
from tprune.tasks.translation.encoding import EncodedPairs

DISTILLATION = """@article{hinton2015distilling,
  title = {Distilling the Knowledge in a Neural Network},
  author = {Hinton, Geoffrey and Vinyals, Oriol and Dean, Jeff},
  journal = {arXiv preprint arXiv:1503.02531}, year = {2015}
}"""

Width = tuple[int, ...]
Total = Callable[[Tensor], Tensor]  # over the processes that share a batch
LEAST_VARIANCE = 1e-6  # floor for the variance of constant hidden states


@cites(DISTILLATION)
def distillation_loss(student: Tensor, teacher: Tensor, labels: Tensor, share: float, smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy per target token (nats) with what the teacher expects, by `share`, and the smoothed label.

    `−Σ_v q_v log p_v` with `q = share · softmax(teacher) + (1 − share) · ((1 − smoothing) · onehot + smoothing / V)`.
    All parts in one target cost one pass over the vocabulary, which is most of a small model's step.

    Args:
        student: logits (sentences, positions, V).
        teacher: logits of the same shape.
        labels: (sentences, positions); `-100` is left out.
        share: of the teacher in the target.
        smoothing: of the labels.

    References:
        Kim and Rush, Sequence-level knowledge distillation, 2016 (word-level).

    Example:
        >>> logits = torch.zeros(1, 2, 4)
        >>> round(float(distillation_loss(logits, logits, torch.tensor([[3, -100]]), share=0.5)), 4)  # log 4
        1.3863
    """
    flat = labels.flatten()
    kept = flat != IGNORED
    with torch.no_grad():
        target = (
            teacher.reshape(-1, teacher.shape[-1])
            .float()
            .softmax(-1)
            .mul_(share)
            .add_((1 - share) * smoothing / teacher.shape[-1])
        )
        hard = torch.full_like(target[:, :1], (1 - share) * (1 - smoothing))
        target.scatter_add_(1, flat.clamp_min(0)[:, None], hard)
        target[~kept] = 0.0
    return F.cross_entropy(student.reshape(-1, student.shape[-1]).float(), target, reduction="sum") / kept.sum()


def unexplained(
    student: Tensor, teacher: Tensor, kept: Tensor, width: Width | None = None, total: Total | None = None
) -> Tensor:
    """The share of the teacher's variance that the student misses.

    `Σ (s − t)² / Σ (t − t̄)²` with t̄ the mean of each dimension.

    0 for equal states; 1 for a student that knows the means alone, whatever the scale of the states.

    Args:
        student: hidden states (sentences, positions, K).
        teacher: hidden states (sentences, positions, D).
        kept: bool (sentences, positions), the positions that count.
        width: the K of the D dimensions that the student has, where it has fewer.
        total: sums a tensor over the processes that share a batch: the variance is that of the whole batch, and what
            comes back is this process's part of the share.

    Example:
        >>> states = torch.tensor([[[1.0, 5.0], [3.0, 5.0]]])
        >>> float(unexplained(states + 1.0, states, torch.tensor([[True, True]])))
        2.0
    """
    s, t = student[kept].float(), teacher[kept].float()
    if width is not None:
        t = t[:, list(width)]
    if total is None:
        variance = (t - t.mean(0)).square().sum()
    else:
        wide = t.double()
        mean = total(wide.sum(0)) / total(kept.sum().double()).clamp_min(1)
        variance = total((wide - mean).square().sum()).to(t)
    return (s - t).square().sum() / variance.clamp_min(LEAST_VARIANCE)


def hidden_distillation(
    student: Sequence[States], teacher: Sequence[States], width: Width | None = None, total: Total | None = None
) -> Tensor:
    """The mean of `unexplained` over the outputs of all layers; padded positions are left out.

    Args:
        student: the hidden states of each stack of layers; `teacher` likewise, of the same batch.
        teacher: see `student`.
        width: the residual dimensions that the student has kept, where it has fewer than the teacher.
        total: see `unexplained`.

    References:
        Jiao et al., TinyBERT: distilling BERT for natural language understanding, 2020; here without a learnt map
        between
        widths, because a cut model's dimensions are the teacher's own.
    """
    layers = [
        unexplained(s, t, mine.kept, width, total)
        for mine, theirs in zip(student, teacher, strict=True)
        for s, t in zip(mine.layers, theirs.layers, strict=True)
    ]
    return torch.stack(layers).mean()


def check_hidden(student: Any, teacher: Any, width: Width | None = None, task: Task | None = None) -> None:
    """Whether hidden states can be compared layer by layer.

    Args:
        student: the model that learns.
        teacher: the dense model.
        width: the residual dimensions that the student has kept, where it has fewer than the teacher.
        task: what both are for; the student's own if not given.

    Raises:
        InputError: the task's models have no hidden states, the two have other numbers of layers, or a width was cut
            and the kept dimensions do not say how.
    """
    known = task or task_of(student)
    if not isinstance(known, HasStates):
        raise InputError(f"hidden: models for {known.name} have no hidden states that can be compared layer by layer")
    mine_of, theirs_of = known.depth(student), known.depth(teacher)
    for stack, layers in mine_of.items():
        if layers != theirs_of[stack]:
            raise InputError(
                f"hidden: the student has {layers} {stack}_layers, the teacher {theirs_of[stack]}; expected equally "
                "many"
            )
    mine, theirs = (int(m.get_input_embeddings().weight.shape[1]) for m in (student, teacher))
    if width is None and mine != theirs:
        raise InputError(
            f"hidden: the student's residual width is {mine}, the teacher's {theirs}; expected equal ones, or the plan "
            "that the student was cut by, with its coupling 'width'"
        )
    if width is not None and (len(width) != mine or max(width) >= theirs):
        raise InputError(
            f"hidden: {len(width)} kept dimensions, the last {max(width)}, for a student of width {mine} and a teacher "
            f"of {theirs}; expected the plan that the student was cut by"
        )


def kept_width(plan: Plan, before: Width | None = None) -> Width | None:
    """The residual dimensions a plan keeps, in the indices of the model that `before` was cut from.

    None where all stay.
    """
    kept = next((e.kept for e in plan.entries if e.coupling.kind == WIDTH), None)
    if kept is None:
        return before
    return kept if before is None else tuple(before[i] for i in kept)


@dataclass(frozen=True)
class MixedTargets(Dataset[dict[str, list[int]]]):
    """The same sources with two targets each: item i is the reference, item `n + i` the pseudo-target.

    Raises:
        InputError: the sources differ.
    """

    references: EncodedPairs
    pseudo_targets: EncodedPairs

    def __post_init__(self) -> None:
        if self.references.source != self.pseudo_targets.source:
            raise InputError(
                f"the pseudo-targets are of {len(self.pseudo_targets)} other sources than the {len(self.references)} "
                "of the training set"
            )

    def __len__(self) -> int:
        return 2 * len(self.references)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        n = len(self.references)
        return self.references[index] if index < n else self.pseudo_targets[index - n]

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the references."""
        return self.references.notes

    @property
    def lengths(self) -> np.ndarray:
        """The longest of each source and its two targets, in tokens."""
        longest: np.ndarray = np.maximum(self.references.lengths, self.pseudo_targets.lengths)
        return longest


@dataclass
class MixedTargetSampler(Sampler[list[int]]):
    """Batches of a `MixedTargets` set.

    Each time a sentence is drawn, its target is the pseudo-target with probability `share`.

    The draws depend on the seed alone, so a resumed run sees the same targets.
    """

    batches: TokenBatches
    share: float
    seed: int = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        rng, n = np.random.default_rng([self.seed, 1]), len(self.batches.lengths)
        for batch in self.batches:
            yield [i + n * bool(u < self.share) for i, u in zip(batch, rng.random(len(batch)), strict=True)]
