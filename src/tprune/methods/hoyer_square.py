"""Hoyer-square, element-wise or on groups: nearly an l0 count, yet differentiable and scale-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tprune.core.coupling import Groups
from tprune.core.method import State, Update
from tprune.support.papers import Papers

DEEP_HOYER = """@inproceedings{yang2020deephoyer,
  title = {{DeepHoyer}: Learning Sparser Neural Network with Differentiable Scale-Invariant Sparsity Measures},
  author = {Yang, Huanrui and Wen, Wei and Li, Hai},
  booktitle = {International Conference on Learning Representations}, year = {2020}
}"""


@dataclass(frozen=True)
class HoyerSquare:
    """`R = (Σ n)² / Σ n²`, slope `2 (Σn/Σn²) (1 − n_g Σn/Σn²)`, over the group norms n of one coupling.

    It lies between 1 (one group left) and the number of groups (all equal). Groups below `Σn²/Σn` shrink, the others
    grow, so it trims small groups without wearing down large ones, and never empties a whole coupling. On one-element
    groups this is DeepHoyer's element-wise form. A coupling that is wholly zero has value 0 and slope 0.

    Example:
        >>> import torch
        >>> from tprune.core.coupling import Coupling, groups_of, producer
        >>> g = groups_of(Coupling("rows", (producer("w", "o i -> o"),)), {"w": torch.tensor([[3.0, 4.0], [0.0, 5.0]])})
        >>> HoyerSquare().update(g, {}, 0)[0].value.item()  # two equal norms count as two
        2.0

    References:
        Yang, Wen and Li, DeepHoyer: learning sparser neural network with differentiable scale-invariant sparsity
        measures, 2020; Mao et al., TPrune, 2021.
    """

    papers: ClassVar[Papers] = (DEEP_HOYER,)

    def init(self, groups: Groups) -> State:
        """No state."""
        return {}

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        """Value and slopes in closed form."""
        norms = groups.norms
        ratio = _ratio(norms)
        return Update(ratio * norms.sum(), 2 * ratio * (1 - norms * ratio)), state


@dataclass(frozen=True)
class PacedHoyerSquare:
    """Hoyer-square with its slopes rescaled to the pace of the optimiser: `slope_g = √s_g (1 − n_g Σn/Σn²)`.

    Direction and fixed points are those of `HoyerSquare`; only each coupling's step length differs. The plain slope is
    about `2/n̄`, which makes one strength fit one scale of weights only. Here a strength of 1 pulls a vanishing group
    as fast as Adam can move its s_g elements at the same learning rate, in every coupling. The value is still
    `(Σn)²/Σn²`.

    References:
        Our own rescaling; the measure is that of `HoyerSquare`.
    """

    papers: ClassVar[Papers] = (DEEP_HOYER,)

    def init(self, groups: Groups) -> State:
        """No state."""
        return {}

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        """Value and rescaled slopes in closed form."""
        norms = groups.norms
        ratio, pace = _ratio(norms), groups.sizes.to(norms.device, norms.dtype).sqrt()
        return Update(ratio * norms.sum(), pace * (1 - norms * ratio) * (ratio > 0)), state


def _ratio(norms: Tensor) -> Tensor:
    """`Σn / Σn²`, 0 where all norms are."""
    total, squares = norms.sum(), norms.square().sum()
    return torch.where(squares > 0, total / squares.clamp_min(torch.finfo(norms.dtype).tiny), torch.zeros_like(squares))
