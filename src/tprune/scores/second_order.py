"""Optimal brain surgeon over groups: which group of columns a linear layer needs least, when the others are refitted.

With `H` the second moments of the inputs (about their mean, because the bias is fitted too) plus `λI`, removing group g
costs

    e_g = tr(W_g ((H⁻¹)_gg)⁻¹ W_gᵀ)

in squared output error per token, if the columns that stay move to `W − W_g ((H⁻¹)_gg)⁻¹ (H⁻¹)_g:`. The group with the
least e_g goes, weights and H⁻¹ are downdated, and so on to the last: e_g sees what earlier removals have left for the
others to do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tprune.core.coupling import Coupling, Groups
from tprune.core.curves import Curve, never_less, sizes_to_try
from tprune.core.plan import Plan
from tprune.core.selection import Limits, keep_best, lines_of
from tprune.core.task import Batch, Task
from tprune.scores.calibration import Gram, consumers, grams
from tprune.scores.readers import columns, layer, matrix_of, write_
from tprune.scores.reconstruction import DAMP, Weights, damping
from tprune.support.activity import doing
from tprune.support.errors import InputError
from tprune.support.papers import cites

SURGEON = (
    """@inproceedings{hassibi1993second,
  title = {Second Order Derivatives for Network Pruning: Optimal Brain Surgeon},
  author = {Hassibi, Babak and Stork, David G.},
  booktitle = {Advances in Neural Information Processing Systems 5}, year = {1993}
}""",
    """@inproceedings{kurtic2023ziplm,
  title = {{ZipLM}: Inference-Aware Structured Pruning of Language Models},
  author = {Kurtic, Eldar and Frantar, Elias and Alistarh, Dan},
  booktitle = {Advances in Neural Information Processing Systems 36}, year = {2023}
}""",
)

Scores = dict[str, Tensor]


@dataclass(frozen=True)
class Removal:
    """In which order one coupling's groups go, and what that costs.

    Attributes:
        scores: when a group goes, shaped as the groups: 0 first, so that `select.keep_best` keeps the last.
        errors: `errors[k]` is the squared output error per token, damping included, with k groups kept (lines per head
            where they are balanced).
        weights: the fitted weight and bias at the sizes that were asked for.
    """

    scores: Tensor
    errors: tuple[float, ...]
    weights: Mapping[int, Weights]


class _Surgeon:
    """Columns that are still there: weights (in, out) and H⁻¹, group by group; a gap is filled by the last group.

    So the live part is always the leading block, and the whole order costs a third of what it would in full matrices.
    """

    def __init__(self, w: Tensor, inverse: Tensor, groups: int) -> None:
        self.w, self.inverse, self.left, self.wide = w, inverse, groups, len(w) // groups
        self.alive = torch.arange(groups)

    def errors(self) -> Tensor:
        """e_g of every live group, by position."""
        n, blocks = self.left * self.wide, (self.left, self.wide)
        w, inverse = self.w[:n], self.inverse[:n, :n]
        if self.wide == 1:
            found: Tensor = torch.linalg.vector_norm(w, dim=1).square() / inverse.diagonal()
            return found
        own = w.view(*blocks, -1)
        diagonal = inverse.view(*blocks, *blocks).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
        found = (own * torch.linalg.solve(diagonal, own)).sum((1, 2))
        return found

    def remove_(self, at: int) -> None:
        """Takes out the group at a position; the others take over what it did."""
        n = self.left * self.wide
        gone, last = slice(at * self.wide, (at + 1) * self.wide), slice(n - self.wide, n)
        w, inverse = self.w[:n], self.inverse[:n, :n]
        rows, own = inverse[gone].clone(), w[gone].clone()
        shift = torch.linalg.solve(rows[:, gone], rows)
        w.addmm_(shift.T, own, alpha=-1)
        inverse.addmm_(rows.T, shift, alpha=-1)
        inverse[gone] = inverse[last].clone()
        inverse[:, gone] = inverse[:, last].clone()
        w[gone] = w[last].clone()
        self.alive[at] = self.alive[self.left - 1].clone()
        self.left -= 1


@torch.no_grad()
@cites(*SURGEON)
def removal(
    weight: Tensor,
    bias: Tensor | None,
    moments: Tensor,
    groups: Tensor,
    shape: Sequence[int],
    sizes: Collection[int] = (),
    damp: float = DAMP,
) -> Removal:
    """The order in which groups of columns of a linear are removed; see the module.

    Groups with two axes (dimensions inside heads) go in rounds, one from every head in each, so that heads stay equal.

    Args:
        weight: (out, in).
        bias: (out) or None.
        moments: `Σ x xᵀ / N` with `x = (input, 1)`, (in + 1, in + 1).
        groups: the flat group of every column.
        shape: the shape of the groups.
        sizes: the numbers of groups (lines per head) at which the fitted weights are wanted.
        damp: λ over the mean of the inputs' mean squares.

    Raises:
        InputError: the groups have unequally many columns, or a size is none that is reached.

    Example:
        >>> w, h = torch.tensor([[3.0, 1.0, 2.0]]), torch.eye(4)
        >>> removal(w, None, h, torch.arange(3), (3,)).scores
        tensor([2., 0., 1.])
    """
    count, lines = math.prod(shape), shape[-1] if shape else 1
    rows = count // lines
    if len(set(torch.bincount(groups, minlength=count).tolist())) != 1:
        raise InputError(f"{len(groups)} columns in {count} groups: expected equally many columns in each")
    if any(not 0 <= size <= lines for size in sizes):
        raise InputError(f"weights at {sorted(sizes)} groups were asked for, there are 0 to {lines}")
    moments = moments.double()
    order = torch.argsort(groups, stable=True)  # columns of one group side by side
    mean = moments[:-1, -1] if bias is not None else torch.zeros_like(moments[:-1, -1])
    h = moments[:-1, :-1] - torch.outer(mean, mean)
    h.diagonal().add_(damping(moments, damp))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h[order][:, order]))
    surgeon = _Surgeon(weight.double().T[order].contiguous(), inverse, count)
    scores, errors, weights = torch.zeros(count), [0.0], dict[int, Weights]()
    removed = torch.zeros(rows, dtype=torch.long)
    for step in range(count + 1):
        if step % rows == 0 and (k := lines - step // rows) in sizes:
            weights[k] = _weights(weight, bias, surgeon, order, mean)
        if step == count:
            break
        live = surgeon.alive[: surgeon.left]
        costs = surgeon.errors().cpu().masked_fill(removed[live // lines] > step // rows, math.inf)
        at = int(costs.argmin())
        scores[live[at]] = step
        removed[live[at] // lines] += 1
        errors.append(errors[-1] + float(costs[at]))
        surgeon.remove_(at)
    return Removal(scores.reshape(tuple(shape)), tuple(errors[::-rows]), weights)


def _weights(weight: Tensor, bias: Tensor | None, surgeon: _Surgeon, order: Tensor, mean: Tensor) -> Weights:
    """The weights as they now stand, every column in its place, and the bias that goes with them."""
    if surgeon.left * surgeon.wide == len(order):
        return weight.clone(), None if bias is None else bias.clone()
    fit = torch.zeros_like(weight.T, dtype=torch.float64)
    live = order.reshape(-1, surgeon.wide)[surgeon.alive[: surgeon.left]].flatten()
    fit[live] = surgeon.w[: surgeon.left * surgeon.wide]
    moved = None if bias is None else (bias.double() + (weight.double().T - fit).T @ mean).to(bias.dtype)
    return fit.T.to(weight.dtype).contiguous(), moved


def removal_of(
    model: nn.Module,
    coupling: Coupling,
    shape: Sequence[int],
    found: Mapping[str, Gram],
    params: Sequence[str],
    sizes: Collection[int] = (),
    damp: float = DAMP,
) -> Removal:
    """`removal` for a coupling with one consumer.

    Raises `InputError` for one with several: their errors have no common unit.

    Args:
        model: holds the consumer.
        coupling: whose groups are ranked.
        shape: of its groups.
        found: the second moments of what consumers read, by weight; see `grams`.
        params: the weights of its consumers, exactly one.
        sizes: as in `removal`.
        damp: as in `removal`.
    """
    if len(params) != 1:
        raise InputError(f"{coupling.name}: {len(params)} layers read its groups as columns; expected one")
    weight, bias = matrix_of(model, params[0]), layer(model, params[0]).bias
    views = [columns(model, view) for view in coupling.views if view.param == params[0]]
    index = next(groups for groups in views if groups is not None)
    return removal(weight, bias, found[params[0]].moments, index, shape, sizes, damp)


def removal_scores(model: nn.Module, plan: Plan, found: Mapping[str, Gram], damp: float = DAMP) -> Scores:
    """For every coupling of a plan the order of removal as scores; group norms where not exactly one linear reads it.

    Args:
        model: the model that the plan is for.
        plan: says which couplings.
        found: the second moments of what consumers read, by weight; see `grams`.
        damp: as in `removal`.
    """
    readers, scores = consumers(model, plan), Scores()
    for number, g in enumerate(plan.bind(model), 1):
        name = g.coupling.name
        if len(readers[name]) != 1:
            scores[name] = g.norms.detach().float().cpu()
            continue
        with doing(f"order in which groups go: coupling {number} of {len(plan.entries)}"):
            scores[name] = removal_of(model, g.coupling, g.shape, found, readers[name], (), damp).scores
    return scores


def ranked_by_norm(model: nn.Module, plan: Plan) -> str:
    """In words, how many couplings of which kinds are ranked by norms, because not exactly one layer reads them.

    Empty if none.

    A coupling of a single group needs no ranking.

    Args:
        model: the model that the plan is for.
        plan: says which couplings.
    """
    readers = consumers(model, plan)
    kinds = Counter(e.coupling.kind for e in plan.entries if e.groups and len(readers[e.coupling.name]) != 1)
    if not kinds:
        return ""
    named = ", ".join(f"{count} of kind {kind}" for kind, count in kinds.items())
    return (
        "ranked by the norms of their groups, because not exactly one layer reads them: "
        f"{named} of {len(plan.entries)} couplings"
    )


def keep_counts(goal: Plan, scores: Mapping[str, Tensor]) -> Plan:
    """The goal with as many groups kept of every coupling, but those with the best scores.

    Args:
        goal: after selection; says how many groups every coupling keeps.
        scores: one value per group, by coupling; larger is better.

    Raises:
        InputError: the goal does not say how many groups it keeps.
    """
    if not goal.selected:
        raise InputError("the plan does not say how many groups it keeps; select first (tprune.select_to)")
    kept = {}
    for entry in goal.entries:
        score = scores[entry.coupling.name]
        kept[entry.coupling.name] = keep_best(score, len(entry.kept or ()) * lines_of(score) // max(1, score.numel()))
    return goal.with_kept(kept, goal.asked, goal.reached)


@torch.no_grad()
def second_order_curves(
    model: nn.Module,
    plan: Plan,
    batches: Sequence[Batch],
    loss: Callable[[nn.Module], float],
    limits: Limits,
    shares: Sequence[float] | None = None,
    damp: float = DAMP,
    task: Task | None = None,
) -> tuple[tuple[Curve, ...], Scores]:
    """Like `loss_curves.sensitivities`, but each coupling is cut in the order of removal, and its reader fitted.

    Couplings that not exactly one linear reads are cut by norm and only masked.

    Args:
        model: the dense model; as it was when this returns.
        plan: its couplings.
        batches: calibration data, padded.
        loss: of a model, in nats per token; deterministic. Best on other sentences than `batches`.
        limits: multiples and floor that the numbers of groups respect.
        shares: how much to try to keep; see `tprune.analysis.loss_curves.sensitivities`.
        damp: see `removal`.
        task: what the model is for; its own if not given.

    Returns:
        The curves, and the scores by which the groups were kept.

    Raises:
        InputError: a loss is not finite, or there are no batches.
    """
    found, readers = grams(model, plan, batches, task), consumers(model, plan)
    whole = loss(model)
    curves, scores = [], Scores()
    for number, groups in enumerate(plan.bind(model), 1):
        name, kept = groups.coupling.name, sizes_to_try(groups, limits, shares)
        fits: Mapping[int, Weights] = {}
        scores[name] = groups.norms.detach().float().cpu()
        if len(readers[name]) == 1:
            with doing(f"order in which groups go: coupling {number} of {len(plan.entries)}"):
                how = removal_of(model, groups.coupling, groups.shape, found, readers[name], kept[:-1], damp)
            scores[name], fits = how.scores, how.weights
        added = [
            _loss_at(model, groups, keep_best(scores[name], k), readers[name], fits.get(k), loss) - whole
            for k in kept[:-1]
        ]
        curves.append(Curve(name, tuple(kept), never_less(added)))
    return tuple(curves), scores


def _loss_at(
    model: nn.Module,
    groups: Groups,
    keep: Tensor,
    readers: Sequence[str],
    fit: Weights | None,
    loss: Callable[[nn.Module], float],
) -> float:
    """The loss with one coupling cut and repaired; the model is as it was when this returns."""
    modules = [layer(model, param) for param in readers]
    touched = [*groups.tensors.values(), *(t for m in modules for t in (m.weight, m.bias) if t is not None)]
    before = [(tensor, tensor.detach().clone()) for tensor in touched]
    try:
        if fit is not None:
            write_(model, readers[0], *fit)
        groups.scale_(keep.to(torch.float32))
        return loss(model)
    finally:
        for tensor, old in before:
            tensor.copy_(old)
