"""Block-wise structured sparsity learning: what a structured penalty takes from every matrix, axis by axis.

From a copy of the dense model, proximal group lasso runs over the lines of every block of every matrix, more strongly
from stage to stage. The lines that vanish first are those that the loss does not hold on to.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tprune.analysis.blocks import BlockShape, by_head
from tprune.analysis.record import Analysis, Component, Point, Reading
from tprune.analysis.sites import origin_of
from tprune.core.coupling import Coupling, Groups, bind
from tprune.core.kinds import Scope, rule_of
from tprune.core.plan import Mode, Plan, make_plan
from tprune.families.registry import couplings
from tprune.methods.group_lasso import GroupLasso
from tprune.methods.regulariser import Regulariser
from tprune.support.errors import InputError
from tprune.support.papers import cites

Fit = Callable[[nn.Module, Regulariser], None]
Loss = Callable[[Any], float]

PATH = (0.25, 0.5, 0.75, 1.0, 1.25)  # strengths along the path, in units of the base
POINTS = 32  # quantiles of the norms that are recorded
GONE = 1e-2  # of the mean norm in the dense model: a group below it has vanished


class Path(Regulariser):
    """A regulariser whose strength rises in stages of equal length; `reached` is called with each stage's number.

    Of several processes that train together only the leading one calls it.
    """

    whole: ClassVar[bool] = True  # norms and losses are read while training

    def __init__(
        self, model: nn.Module, plan: Plan, multiples: Sequence[float], steps: int, reached: Callable[[int], None]
    ) -> None:
        super().__init__(model, plan)
        self.multiples, self.reached = tuple(multiples), reached
        self.ends = tuple(round(steps * (i + 1) / len(multiples)) for i in range(len(multiples)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "reached": _unheard}

    @property
    def pace(self) -> float:
        """The multiple of the base strength that holds at this step."""
        stage = sum(self.step >= end for end in self.ends)
        return self.multiples[min(stage, len(self.multiples) - 1)]

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        """The proximal step, and a note where a stage ends."""
        super().after_step(optimizer)
        if self.step in self.ends:
            self.reached(self.ends.index(self.step))


def _unheard(stage: int) -> None:
    """Nobody is told."""


@cites(*GroupLasso.papers)
def analyse(
    model: Any,
    fit: Fit,
    *,
    kinds: Sequence[str],
    strength: float,
    steps: int,
    multiples: Sequence[float] = PATH,
    blocks: BlockShape = BlockShape.MATRIX,
    loss: Loss | None = None,
) -> Analysis:
    """Runs BSSL on a copy of the model, by proximal steps.

    `L = CE + λ Σ_blocks (Σ_rows √s‖row‖ + Σ_columns √s‖column‖)`

    λ takes each of `strength · multiples` for an equal share of the steps, weights and optimiser going on from one to
    the next. The norms of the couplings of `kinds` are read off the same run.

    Args:
        model: the trained dense model; stays as it is.
        fit: trains a model for `steps` steps, at a constant learning rate, with the regulariser in its loop.
        kinds: which couplings to report beside the lines of matrices.
        strength: the base of λ, in units of the learning rate.
        steps: of training; fewer than strengths use only the first of these.
        multiples: the path, rising.
        blocks: whole matrices, or head slices in attention projections.
        loss: of a model on validation sentences, in nats per token; read after each strength.

    Raises:
        InputError: strengths that do not rise, or a `fit` that took other than `steps` steps.

    References:
        Mao et al., TPrune, 2021 (block-wise structured sparsity learning; our reconstruction from the abstract).
    """
    multiples = tuple(multiples)[:steps]
    if not multiples or list(multiples) != sorted(set(multiples)) or multiples[0] <= 0:
        raise InputError(f"analysis: the path needs rising strengths above 0, got {multiples}")
    twin = copy.deepcopy(model)
    lines = linear_lines(twin)
    if blocks is BlockShape.HEADS:
        lines = by_head(lines, couplings(twin, ["heads"]))
    shown = (*lines, *(couplings(twin, kinds) if kinds else ()))
    bound = bind(shown, twin)
    before = {g.coupling.name: g.norms.detach().clone() for g in bound}
    readings: dict[str, list[Reading]] = {name: [] for name in before}
    points: list[Point] = []
    plan = make_plan(twin, "analysis", lines, method=GroupLasso(), mode=Mode.PROXIMAL, strengths=strength)

    def reached(stage: int) -> None:
        for groups in bound:
            name = groups.coupling.name
            readings[name].append(read(groups.refresh().norms.detach().cpu(), before[name].cpu()))
        points.append(Point(strength * multiples[stage], path.step, loss(twin) if loss else None))

    dense_loss = loss(twin) if loss else None
    path = Path(twin, plan, multiples, steps, reached)
    fit(twin, path)
    if len(points) < len(multiples):
        raise InputError(f"analysis: fit took {path.step} steps; expected {steps}")
    found = tuple(_component(g, before, readings) for g in bound)
    return Analysis(found, strength, steps, tuple(points), dense_loss, str(blocks))


def linear_lines(model: nn.Module) -> tuple[Coupling, ...]:
    """The lines of all linear maps inside a model's blocks. Raises `InputError` where there are none."""
    found = tuple(coupling for coupling in couplings(model) if rule_of(coupling.kind).scope is Scope.MATRIX)
    if not found:
        raise InputError(
            f"{type(model).__name__} has no linear maps inside its blocks; expected some, whose lines are analysed "
            "(those of convolutions are not)"
        )
    return found


def read(norms: Tensor, dense: Tensor) -> Reading:
    """What is left of a component's norms, against those of the dense model.

    Example:
        >>> read(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 3.0])).zero
        0.5
    """
    mean = dense.mean().clamp_min(torch.finfo(dense.dtype).tiny)
    zero = float((norms <= GONE * mean).double().mean())
    shrunk = float(1 - norms.sum() / dense.sum().clamp_min(torch.finfo(dense.dtype).tiny))
    return Reading(round(zero, 4), round(shrunk, 4), quantiles(norms / mean))


def quantiles(values: Tensor, points: int = POINTS) -> tuple[float, ...]:
    """At most `points` evenly spaced values of the sorted ones, smallest first, the ends included."""
    ordered = values.detach().flatten().double().sort().values
    places = torch.linspace(0, len(ordered) - 1, min(points, len(ordered))).round().long()
    return tuple(round(float(v), 4) for v in ordered[places])


def _component(groups: Groups, before: Mapping[str, Tensor], readings: Mapping[str, Sequence[Reading]]) -> Component:
    coupling: Coupling = groups.coupling
    dense, path = before[coupling.name], tuple(readings[coupling.name])
    norms = read(dense, dense).norms
    return Component(
        coupling.name, coupling.kind, dense.numel(), path[-1].zero, path[-1].shrunk, norms, path, **origin_of(coupling)
    )
