"""How strong a penalty is at each step: a controller follows what is left in the groups that will be cut."""

from __future__ import annotations

import math
from typing import TypedDict

import torch
from torch import Tensor

from tprune.core.plan import Plan
from tprune.core.selection import keep_best, lines_of
from tprune.support.errors import InputError


def to_be_cut(norms: Tensor, kept: int) -> Tensor:
    """Mask of the groups beyond the `kept` largest; with more axes than one the same number is kept along the last.

    Example:
        >>> import torch
        >>> to_be_cut(torch.tensor([3.0, 1.0, 2.0]), kept=1)
        tensor([False,  True,  True])
    """
    rows = norms.numel() // lines_of(norms)
    return ~keep_best(norms.detach(), kept // rows).to(norms.device)


class ControllerState(TypedDict):
    """What a checkpoint keeps of a controller."""

    logs: list[float]
    first: list[float | None]


class Controller:
    """Moves each coupling's strength so that what a plan cuts fades out in `steps` steps, not sooner, not later.

    With m the residue (`Σ_cut n² / Σ n²`) it follows `m_0 (1 − t/T)³`: at every step
    `log f += gain · clip(log(m / wanted), ±1)`, where f multiplies the coupling's strength and stays within 1/100 and
    100. No strength fits all couplings: one too weak leaves much to be cut at the end, one too strong empties groups
    that would have been kept. Only groups that would be cut now are pulled, and only down: the growth that Hoyer-square
    gives the others saturates attention once the strength is high.

    Args:
        goal: a plan after selection; the numbers of kept groups are what counts, which ones is found while training.
        steps: until nothing should be left.
        gain: how fast strengths move.

    Raises:
        InputError: the plan is not selected.

    References:
        Our own; regularisation that grows until groups are gone follows Wang et al., Neural pruning via growing
        regularization, 2021.
    """

    LIMIT = math.log(100.0)
    LEAST = 1e-5  # of the first residue: as good as nothing

    def __init__(self, goal: Plan, steps: int, gain: float = 0.2) -> None:
        if not goal.selected:
            raise InputError("the controller needs a plan that says what it keeps; select first")
        self.kept = [len(entry.kept or ()) for entry in goal.entries]
        self.steps, self.gain = steps, gain
        self.logs = [0.0] * len(self.kept)
        self.first: list[float | None] = [None] * len(self.kept)

    def steer(self, i: int, norms: Tensor, slope: Tensor, step: int) -> Tensor:
        """The slopes of coupling `i` at this step: f times those of the groups that would be cut.

        Call it once a step.
        """
        cut = to_be_cut(norms, self.kept[i])
        squares = norms.detach().square()
        left = float((squares * cut).sum() / squares.sum().clamp_min(torch.finfo(squares.dtype).tiny))
        first = self.first[i]
        if first is None:
            first = self.first[i] = left
        if first > 0:
            wanted = first * max(self.LEAST, max(0.0, 1 - step / self.steps) ** 3)
            error = math.log(max(left, first * self.LEAST / 10) / wanted)
            moved = self.logs[i] + self.gain * max(-1.0, min(1.0, error))
            self.logs[i] = max(-self.LIMIT, min(self.LIMIT, moved))
        return slope.clamp_min(0) * cut * math.exp(self.logs[i])

    def state_dict(self) -> ControllerState:
        """Plain numbers, for a checkpoint."""
        return {"logs": list(self.logs), "first": list(self.first)}

    def load_state_dict(self, state: ControllerState) -> None:
        """Takes up a checkpoint. Raises `InputError` when it is of another plan."""
        if len(state["logs"]) != len(self.kept):
            raise InputError(f"the checkpoint controls {len(state['logs'])} couplings, the plan has {len(self.kept)}")
        self.logs, self.first = list(state["logs"]), list(state["first"])
