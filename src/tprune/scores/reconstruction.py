"""Repair: after groups are cut, the layers that consume them are refitted, so that their outputs change least.

Least squares over the kept columns K (and the bias), on calibration tokens, and as near to the old weights as the data
allows:

    min_V  Σ_tokens |V x_K − y|² / N + λ |V − W_K|²     V = W_K + (C − W_K H_KK)(H_KK + λI)⁻¹,   C = Σ y xᵀ_K / N

`y` is what the dense matrix gave and `λ = damp · mean diag H`. The bias is not damped. At V = W_K, which is plain
masking, the sum is the masked error; so on the calibration tokens the repaired error is never larger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tprune.core.known_tasks import task_of
from tprune.core.plan import Plan
from tprune.core.task import Batch, Task
from tprune.realise.mask import mask_, masked
from tprune.scores.calibration import Gram, augmented, checked, inputs, kept_columns
from tprune.scores.readers import layer, matrix_of, write_
from tprune.support.errors import InputError

DAMP = 1e-4
Weights = tuple[Tensor, Tensor | None]  # of a linear: the matrix (out, in), and the bias where it has one


def fitted(
    weight: Tensor, bias: Tensor | None, moments: Tensor, keep: Tensor, damp: float = DAMP, cross: Tensor | None = None
) -> Weights:
    """Weight and bias of a linear that reads only the columns in `keep`; the others are exactly zero. See the module.

    Args:
        weight: (out, in), as it is.
        bias: (out) or None; without one none is fitted.
        moments: `Σ x xᵀ / N` with `x = (input, 1)`, (in + 1, in + 1).
        keep: bool, one per column.
        damp: λ over the mean of the inputs' mean squares.
        cross: `Σ y xᵀ / N`, (out, in + 1), of the outputs to reach; those of the linear as it is if not given.

    Raises:
        InputError: `damp` is not above 0, or the shapes do not fit each other.

    Example:
        >>> same = torch.ones(3, 3)  # two inputs that are always 1
        >>> w, b = fitted(torch.tensor([[2.0, 3.0]]), None, same, torch.tensor([True, False]), damp=1e-9)
        >>> w.round(decimals=3)
        tensor([[5., 0.]])
    """
    n = weight.shape[1]
    if not damp > 0:
        raise InputError(f"damp must be above 0, got {damp}")
    if moments.shape != (n + 1, n + 1) or keep.shape != (n,):
        raise InputError(
            f"a weight with {n} columns needs moments of {n + 1} x {n + 1} and {n} columns to keep, "
            f"got {tuple(moments.shape)} and {tuple(keep.shape)}"
        )
    old = weight.double() if bias is None else torch.cat([weight.double(), bias.double()[:, None]], dim=1)
    size = old.shape[1]
    h = moments[:size, :size].double()
    stay = torch.cat([keep.nonzero().flatten().to(h.device), torch.arange(n, size, device=h.device)])
    ridge = damping(moments, damp) * (stay < n)
    wanted = (old @ h if cross is None else cross)[:, stay]
    here, within = old[:, stay], h[stay][:, stay]
    fit = torch.zeros_like(old)
    fit[:, stay] = here + torch.linalg.solve(within + ridge.diag(), (wanted - here @ within).T).T
    new = fit.to(weight.dtype)
    return new[:, :n], None if bias is None else new[:, n]


def damping(moments: Tensor, damp: float) -> float:
    """λ: `damp` times the mean square of the inputs (above 0 even where all inputs are 0).

    Args:
        moments: `Σ x xᵀ / N` with `x = (input, 1)`, (in + 1, in + 1).
        damp: a share of the mean square.
    """
    return damp * max(float(moments.diagonal()[:-1].mean()), torch.finfo(torch.float32).tiny)


@torch.no_grad()
def repair_(model: nn.Module, plan: Plan, grams: Mapping[str, Gram], damp: float = DAMP) -> None:
    """Masks a plan's pruned groups and refits every layer that consumes some of them, in place; see the module.

    Every matrix is fitted to its inputs in the dense model. What that model computes is what `shrink` cuts out of it.

    Args:
        model: the dense model.
        plan: after selection.
        grams: of this model's consumers, from `tprune.scores.calibration.grams`.
        damp: see `fitted`.

    Raises:
        InputError: a consumer with pruned columns has no Gram matrix.
    """
    for param, keep in kept_columns(model, plan).items():
        if bool(keep.all()):
            continue
        if param not in grams:
            raise InputError(
                f"{param} has pruned columns but no Gram matrix; make them with tprune.scores.calibration.grams"
            )
        weight, bias = matrix_of(model, param), layer(model, param).bias
        write_(model, param, *fitted(weight, bias, grams[param].moments, keep, damp))
    mask_(model, plan)


@torch.no_grad()
def repaired(
    model: nn.Module, plan: Plan, batches: Sequence[Batch], damp: float = DAMP, task: Task | None = None
) -> nn.Module:
    """A copy with the plan's pruned groups masked and their readers fitted, one after the other in the order they run.

    Each is fitted to what the copy now gives it and to what the same matrix computes in the dense model. So it makes up
    for what was lost before it too; from the first cut on, also where it loses no column itself.

    Args:
        model: the dense model; left as it is.
        plan: after selection.
        batches: of the task's data, padded.
        damp: see `fitted`.
        task: what the model is for; its own if not given.

    Raises:
        InputError: there are no batches, or no tokens in them.
    """
    kept, known = kept_columns(model, plan), task or task_of(model)
    twin = masked(model, plan)
    cut = False
    for param in inputs(model, kept, checked(batches, known)[0], known) if kept else ():
        cut = cut or not bool(kept[param].all())
        if cut:
            weight, bias = matrix_of(model, param), layer(model, param).bias
            moments, cross = _towards(model, twin, param, batches, known)
            write_(twin, param, *fitted(weight, bias, moments, kept[param], damp, cross))
    mask_(twin, plan)  # a fitted bias may belong to a group that is cut too
    return twin


def _towards(
    model: nn.Module, twin: nn.Module, param: str, batches: Sequence[Batch], task: Task
) -> tuple[Tensor, Tensor]:
    """Moments of a linear's inputs in the twin, and of these with its outputs in the model."""
    weight, bias = matrix_of(model, param).double(), layer(model, param).bias
    bias = None if bias is None else bias.double()
    total, moments, cross = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        y = F.linear(inputs(model, [param], batch, task)[param].double(), weight, bias)
        x = augmented(inputs(twin, [param], batch, task)[param])
        total, moments, cross = total + len(x), moments + x.T @ x, cross + y.T @ x
    return moments / total, cross / total
