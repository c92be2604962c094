"""Calibration: what the linears that read a coupling's groups are given on real sentences, as second moments.

`H = Σ x xᵀ / N` over the N tokens that are no padding, with `x = (input, 1)`: the constant lets a bias be fitted with
its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tprune.core.coupling import source_params, tensors_of
from tprune.core.known_tasks import task_of
from tprune.core.plan import Plan
from tprune.core.sites import no_site
from tprune.core.task import Batch, Task
from tprune.families.registry import family_of
from tprune.scores.readers import columns, layer, matrix_of, reader_of
from tprune.support.activity import doing
from tprune.support.errors import InputError


@dataclass(frozen=True)
class Gram:
    """Second moments of one linear's inputs.

    Attributes:
        moments: `Σ x xᵀ / N` with `x = (input, 1)`, float64, (inputs + 1, inputs + 1).
        count: N, how many tokens they are a mean over.
    """

    moments: Tensor
    count: int


def consumers(model: nn.Module, plan: Plan) -> dict[str, tuple[str, ...]]:
    """For every coupling of a plan the weights of the layers whose columns its groups index.

    See `tprune.scores.readers`.

    Tied weights are left out: fitting them as a linear would change what else they are.

    Args:
        model: the model that the plan is for.
        plan: says which couplings.
    """
    tensors = tensors_of(model)
    shared = [id(tensor) for tensor in tensors.values()]
    found = {}
    for coupling in plan.couplings:
        params = dict.fromkeys(v.param for v in coupling.views if columns(model, v) is not None)
        found[coupling.name] = tuple(p for p in params if shared.count(id(tensors[p])) == 1)
    return found


def kept_columns(model: nn.Module, plan: Plan) -> dict[str, Tensor]:
    """For every consumer in a plan (by its weight) a bool per column: whether all couplings keep it.

    Args:
        model: the model that the plan is for.
        plan: after selection.
    """
    kept = {
        p: torch.ones(matrix_of(model, p).shape[1], dtype=torch.bool)
        for found in consumers(model, plan).values()
        for p in found
    }
    for entry in plan.entries:
        for view in entry.coupling.views:
            if view.param in kept and (index := columns(model, view)) is not None:
                kept[view.param] &= entry.keep.flatten()[index]
    return kept


@torch.no_grad()
def inputs(model: nn.Module, params: Iterable[str], batch: Batch, task: Task | None = None) -> dict[str, Tensor]:
    """What the layers with these weights read in a forward pass, in the order they run: (rows, columns), no padding.

    Args:
        model: runs the batch, evaluating; its mode is restored.
        params: the weights of the layers.
        batch: of the model's task.
        task: what the model is for; its own if not given.

    Raises:
        InputError: a layer does not run, or its inputs are not of the batch.
    """
    wanted, seen, training = set(params), dict[str, Tensor](), model.training
    source, known = of_source(model, wanted), task or task_of(model)

    def hook(param: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def see(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            real = known.positions(batch, "encoder" if param in source else "decoder")
            reader = reader_of(module)
            assert reader is not None
            try:
                seen[param] = reader.rows(module, given[0], real)
            except InputError as error:
                raise InputError(f"{param}: {error}") from None
            if len(seen) == len(wanted):
                raise _EnoughError

        return see

    handles = [layer(model, param).register_forward_pre_hook(hook(param)) for param in wanted]
    try:
        known.run(model.eval(), batch)
    except _EnoughError:
        return seen
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    if missing := sorted(wanted - set(seen)):
        raise InputError(f"{missing[0]}: no forward pass of the model runs through it")
    return seen


def of_source(model: nn.Module, params: Iterable[str]) -> frozenset[str]:
    """Those of these weights whose linears have one input per token of the source.

    All others have one per token of the target.

    Args:
        model: of a supported family.
        params: the names of weights.

    Raises:
        InputError: one that lies in couplings without a site alone, so that it is not known.
    """
    table = family_of(model).couplings(model)
    found, wanted = source_params(table), set(params)
    wanted -= {param for coupling in table if coupling.site is not None for param in coupling.params}
    if unknown := [coupling for coupling in table if wanted & set(coupling.params)]:
        raise no_site(unknown[0].name)
    return found


class _EnoughError(Exception):
    """All inputs that were asked for have been seen; the rest of the pass is not needed."""


def grams(model: nn.Module, plan: Plan, batches: Sequence[Batch], task: Task | None = None) -> dict[str, Gram]:
    """The second moments of every consumer's inputs, by the name of its weight, in the order they run.

    Args:
        model: as it is; its dropout is off meanwhile.
        plan: its couplings name the consumers.
        batches: of the task's data, padded.
        task: what the model is for; its own if not given.

    Raises:
        InputError: there are no batches, or no tokens in them.
    """
    wanted = {param for found in consumers(model, plan).values() for param in found}
    known, sums = task or task_of(model), dict[str, Tensor]()
    counts: dict[str, int] = {}
    for number, batch in enumerate(checked(batches, known), 1):
        with doing(f"what the matrices are given: batch {number} of {len(batches)}"):
            for param, x in inputs(model, wanted, batch, known).items() if wanted else ():
                one = augmented(x)
                sums[param] = sums[param].addmm_(one.T, one) if param in sums else one.T @ one
                counts[param] = counts.get(param, 0) + len(x)
    return {param: Gram(total / counts[param], counts[param]) for param, total in sums.items()}


def checked(batches: Sequence[Batch], task: Task) -> Sequence[Batch]:
    """The batches. Raises `InputError` where there are none, or one has no token.

    Args:
        batches: for calibration.
        task: says which positions are no padding.
    """
    if not batches:
        raise InputError("no calibration batches; expected at least one")
    for number, batch in enumerate(batches):
        if not all(task.positions(batch, stack).any() for stack in ("encoder", "decoder")):
            raise InputError(f"calibration batch {number} has no tokens but padding")
    return batches


def augmented(x: Tensor) -> Tensor:
    """`(x, 1)` for every row, in float64.

    Args:
        x: (rows, columns).
    """
    return torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64, device=x.device)], dim=1)
