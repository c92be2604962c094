"""Whether a realisation computes what the masked model computes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from tprune.core.coupling import Coupling, tensors_of
from tprune.core.known_tasks import task_of
from tprune.core.plan import Plan, make_plan
from tprune.core.realisation import Realisation
from tprune.core.task import Batch
from tprune.realise.certificate import certify
from tprune.realise.mask import masked
from tprune.support.errors import CertificateError
from tprune.testing.common import TOLERANCE, apart, require
from tprune.testing.family import check_agrees, random_kept

Run = Callable[[nn.Module], Tensor]


@torch.no_grad()
def check_realisation(
    realisation: Realisation,
    model: nn.Module,
    couplings: Sequence[Coupling],
    run: Run | None = None,
    *,
    batch: Batch | None = None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> None:
    """A realisation makes a new model that computes what the masked one does, for a random choice of groups.

    The given model has to stay as it is and to share no tensor with the new one; nothing pruned has to change nothing;
    two calls have to agree; evaluating or training, and the precision, have to stay. With a batch of the model's task
    its decoding is compared as well, and its certificate is drawn up.

    Args:
        realisation: called with a model and a plan.
        model: on which it is tried, a copy in double precision; randomise its biases first (`randomise_`).
        couplings: of the model, at least one that the realisation can take.
        run: the model's output on some input.
        batch: instead of `run`, of the task's data.
        seed: which groups stay.
        tolerance: of the largest output.

    Raises:
        AssertionError: it does not; says in what.

    Example:
        >>> from tprune.core.coupling import consumer, producer
        >>> from tprune.realise.mask import masked
        >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).double()
        >>> units = Coupling("units", (producer("0.weight", "u i -> u"), consumer("2.weight", "o u -> u")))
        >>> check_realisation(masked, net, [units], lambda model: model(torch.ones(1, 3, dtype=torch.float64)))
    """
    name = getattr(realisation, "__name__", type(realisation).__name__)
    outputs = _runner(model, run, batch)
    dense = copy.deepcopy(model).double().eval()
    plan = random_kept(dense, make_plan(dense, "", couplings), seed=seed)
    reference = masked(dense, plan)
    expected = outputs(reference)
    seen = apart(outputs(dense), expected)
    require(seen > tolerance, f"{name}: the check is blind, masking these couplings does not change the output")

    before = {key: tensor.clone() for key, tensor in tensors_of(dense).items()}
    small = _realised(realisation, dense, plan, name)
    _check_left_alone(dense, small, before, name)
    off = apart(expected, outputs(small))
    require(off < tolerance, f"{name}: the realised model is off the masked one by {off:.2g}")
    require(
        torch.equal(outputs(small), outputs(_realised(realisation, dense, plan, name))), f"{name}: not deterministic"
    )
    _check_whole(realisation, dense, plan, outputs, tolerance, name)
    _check_kept_state(realisation, dense, plan, small, name)
    if batch is not None:
        check_agrees(reference, small, batch, name, tolerance=tolerance)
        try:
            certify(dense, plan, small, batch)
        except CertificateError as error:
            raise AssertionError(f"{name}: no certificate: {error}") from None


def _runner(model: nn.Module, run: Run | None, batch: Batch | None) -> Run:
    require((run is None) != (batch is None), "expected `run` or `batch`, one of the two")
    if run is not None:
        return run
    task, given = task_of(model), batch or {}
    return lambda each: task.run(each, given).logits


def _realised(realisation: Realisation, model: nn.Module, plan: Plan, name: str) -> nn.Module:
    try:
        return realisation(model, plan)
    except Exception as error:
        raise AssertionError(f"{name}: cannot be realised ({type(error).__name__}: {error})") from error


def _check_left_alone(model: nn.Module, small: nn.Module, before: Mapping[str, Tensor], name: str) -> None:
    after = tensors_of(model)
    changed = [key for key in before if key not in after or not torch.equal(before[key], after[key])]
    require(
        not changed and set(after) == set(before), f"{name}: changes the given model, {(changed or ['its names'])[0]}"
    )
    mine = {tensor.data_ptr() for tensor in after.values() if tensor.numel()}
    shared = [
        key
        for key, tensor in tensors_of(small).items()
        if tensor.layout is torch.strided and tensor.numel() and tensor.data_ptr() in mine
    ]
    require(not shared, f"{name}: shares {(shared or [''])[0]} with the given model")


def _check_whole(
    realisation: Realisation, model: nn.Module, plan: Plan, outputs: Run, tolerance: float, name: str
) -> None:
    everything = {entry.coupling.name: torch.ones(entry.groups, dtype=torch.bool) for entry in plan.entries}
    whole = _realised(realisation, model, plan.with_kept(everything, {}, {}), name)
    off = apart(outputs(model), outputs(whole))
    require(off < tolerance, f"{name}: where nothing is pruned the model is off the dense one by {off:.2g}")


def _check_kept_state(realisation: Realisation, model: nn.Module, plan: Plan, small: nn.Module, name: str) -> None:
    require(not small.training, f"{name}: a model that evaluates is realised as one that trains")
    trained = copy.deepcopy(model).train()
    require(
        _realised(realisation, trained, plan, name).training,
        f"{name}: a model that trains is realised as one that evaluates",
    )
    single = copy.deepcopy(model).float()
    wrong = [
        key
        for key, tensor in tensors_of(_realised(realisation, single, plan, name)).items()
        if tensor.is_floating_point() and tensor.dtype is not torch.float32
    ]
    require(not wrong, f"{name}: {(wrong or [''])[0]} of a model in single precision is not")
