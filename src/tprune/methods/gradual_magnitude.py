"""Gradual magnitude pruning: while training, more and more of the smallest groups are masked for good."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from tprune.core.coupling import Groups
from tprune.core.method import State, Update
from tprune.core.selection import keep_best, lines_of
from tprune.support.errors import InputError
from tprune.support.papers import Papers

ZHU_GUPTA = """@article{zhu2017prune,
  title = {To Prune, or Not to Prune: Exploring the Efficacy of Pruning for Model Compression},
  author = {Zhu, Michael and Gupta, Suyog},
  journal = {arXiv preprint arXiv:1710.01878}, year = {2017}
}"""


@dataclass(frozen=True)
class GradualMagnitude:
    """Masks a share `s_t = s_f + (s_i − s_f) (1 − (t − t_0) / T)³` of the groups, the smallest; R counts the rest.

    The share is applied at t_0 and every `every` steps after it, until `begin + over`. The masks only grow: what is
    masked once stays zero. There is no penalty, so R, the number of groups left, has slope 0. Groups of two axes are
    masked balanced, equally many along the last, so that they can be cut out densely. At least one of them stays
    unless s_f is 1.

    Args:
        share: s_f, the share that is masked at the end.
        initial: s_i, the share at t_0.
        begin: t_0, the first step that masks.
        over: T, the number of steps from the first share to the last.
        every: steps between two masks.

    Raises:
        InputError: not 0 ≤ initial ≤ share ≤ 1, or a number of steps is out of range.

    Example:
        >>> from tprune.core.coupling import Coupling, groups_of, producer
        >>> g = groups_of(Coupling("rows", (producer("w", "o i -> o"),)), {"w": torch.tensor([[3.0], [1.0], [2.0]])})
        >>> method = GradualMagnitude(share=0.4, initial=0.4)
        >>> method.update(g, method.init(g), 0)[0].keep
        tensor([ True, False,  True])

    References:
        Zhu and Gupta, To prune, or not to prune: exploring the efficacy of pruning for model compression, 2017
        (of single weights, which are the groups of `o i -> o i`).
    """

    share: float = 0.5
    initial: float = 0.0
    begin: int = 0
    over: int = 1000
    every: int = 100
    papers: ClassVar[Papers] = (ZHU_GUPTA,)

    def __post_init__(self) -> None:
        if not 0 <= self.initial <= self.share <= 1:
            raise InputError(f"shares are {self.initial} and {self.share}; expected 0 ≤ initial ≤ share ≤ 1")
        if self.begin < 0 or self.over < 1 or self.every < 1:
            raise InputError(
                f"begin, over and every are {self.begin}, {self.over} and {self.every} steps; "
                "expected at least 0, 1 and 1"
            )

    def share_at(self, step: int) -> float:
        """The share that the schedule masks at a step from `begin` on.

        Example:
            >>> [round(GradualMagnitude(share=0.8, over=100).share_at(step), 2) for step in (0, 50, 100, 200)]
            [0.0, 0.7, 0.8, 0.8]
        """
        left = max(0.0, 1 - (step - self.begin) / self.over)
        return self.share + (self.initial - self.share) * left**3

    def init(self, groups: Groups) -> State:
        """All groups are kept."""
        return {"keep": torch.ones(groups.shape, dtype=torch.bool)}

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        """The mask: that of the step before, or one that masks more where the schedule says so."""
        keep, norms = state["keep"], groups.norms.detach()
        if self._masks_at(step):
            lines = lines_of(norms)
            ranked = norms.cpu().masked_fill(~keep.cpu(), -1.0)  # what is masked comes last, even among zeros
            keep = keep_best(ranked, lines - math.floor(self.share_at(step) * lines + 1e-9)) & keep.cpu()
        return Update(keep.sum().to(norms), torch.zeros_like(norms), keep=keep), {"keep": keep}

    def _masks_at(self, step: int) -> bool:
        since = step - self.begin
        return since == self.over or (0 <= since < self.over and since % self.every == 0)
