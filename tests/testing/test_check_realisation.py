"""The conformance check of realisations: ours pass, and every planted mistake is named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from small_models import small_batch
from small_net import UNITS, Net
from tprune.core.known_realisations import REALISATIONS
from tprune.core.plan import Plan
from tprune.families.registry import couplings
from tprune.realise.mask import mask_, masked
from tprune.realise.shrunk import SHRUNK
from tprune.support.errors import InputError
from tprune.testing import check_realisation

X = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def run(model: Any) -> Tensor:
    found: Tensor = model.down(torch.relu(model.up(X.to(model.up.weight))))
    return found


def in_place(model: nn.Module, plan: Plan) -> nn.Module:
    mask_(model, plan)
    return model


def sharing(model: nn.Module, plan: Plan) -> nn.Module:
    twin = masked(model, plan)
    twin.down.bias = model.down.bias
    return twin


def forgetting_biases(model: nn.Module, plan: Plan) -> nn.Module:
    twin: Any = masked(model, plan)
    twin.down.bias.data.zero_()
    return twin  # type: ignore[no-any-return]


def dense(model: nn.Module, plan: Plan) -> nn.Module:
    return copy.deepcopy(model)


def noisy(model: nn.Module, plan: Plan) -> nn.Module:
    twin: Any = masked(model, plan)
    twin.down.weight.data.mul_(1 + 1e-13 * torch.rand((), dtype=torch.float64))
    return twin  # type: ignore[no-any-return]


def always_half(model: nn.Module, plan: Plan) -> nn.Module:
    """Prunes some even where the plan prunes nothing."""
    twin: Any = masked(model, plan)
    if plan.entries[0].keep.all():
        twin.up.weight.data[0] = 0
    return twin  # type: ignore[no-any-return]


def training(model: nn.Module, plan: Plan) -> nn.Module:
    return masked(model, plan).train()


def evaluating(model: nn.Module, plan: Plan) -> nn.Module:
    return masked(model, plan).eval()


def widened(model: nn.Module, plan: Plan) -> nn.Module:
    return masked(model, plan).double()


def failing(model: nn.Module, plan: Plan) -> nn.Module:
    raise RuntimeError("no")


MISTAKES: list[tuple[Callable[..., nn.Module], str]] = [
    (in_place, "changes the given model, up"),
    (sharing, "shares down.bias with the given model"),
    (forgetting_biases, "the realised model is off the masked one"),
    (dense, "the realised model is off the masked one"),
    (noisy, "not deterministic"),
    (always_half, "where nothing is pruned the model is off the dense one"),
    (training, "a model that evaluates is realised as one that trains"),
    (evaluating, "a model that trains is realised as one that evaluates"),
    (widened, "up.* of a model in single precision is not"),
    (failing, r"cannot be realised \(RuntimeError: no\)"),
]


@pytest.mark.parametrize(("mistake", "says"), MISTAKES, ids=[mistake.__name__ for mistake, _ in MISTAKES])
def test_mistakes_are_found(mistake: Any, says: str) -> None:
    check_realisation(masked, Net(), [UNITS], run)
    with pytest.raises(AssertionError, match=f"{mistake.__name__}: {says}"):
        check_realisation(mistake, Net(), [UNITS], run)


def test_a_blind_check_and_one_without_outputs_are_refused() -> None:
    with pytest.raises(AssertionError, match="the check is blind"):
        check_realisation(masked, Net(), [UNITS], lambda model: torch.ones(2))
    with pytest.raises(AssertionError, match="`run` or `batch`, one of the two"):
        check_realisation(masked, Net(), [UNITS])


@pytest.mark.parametrize(("name", "kind"), [("masked", "qk"), ("shrunk", "ffn"), ("gathered", "lines")])
def test_ours_pass_on_a_model_of_a_task(name: str, kind: str, marian_small: Any) -> None:
    check_realisation(REALISATIONS[name], marian_small, couplings(marian_small, [kind]), batch=small_batch())


def test_a_mistake_in_decoding_is_found(marian_small: Any) -> None:
    def other_scale(model: nn.Module, plan: Plan) -> nn.Module:
        small: Any = SHRUNK(model, plan)
        for module in small.modules():
            if hasattr(module, "q_proj"):
                module.scaling = (module.q_proj.out_features // module.num_heads) ** -0.5
        return small  # type: ignore[no-any-return]

    with pytest.raises(AssertionError, match="other_scale: the realised model is off"):
        check_realisation(other_scale, marian_small, couplings(marian_small, ["qk"]), batch=small_batch())


def test_what_is_no_realisation_cannot_be_entered() -> None:
    for thing, says in (
        (type(SHRUNK), "Shrunk is a class; expected one of its objects"),
        (3, "a int cannot be called"),
    ):
        odd: Any = thing
        with pytest.raises(InputError, match=f"realisation 'odd' cannot be entered: {says}"):
            REALISATIONS.enter("odd", odd)
