"""Sensitivity measures what masking does, one coupling at a time, and leaves the model as it was."""

from typing import Any

import pytest
import torch

from small_models import small_batch, small_model
from tprune.analysis.loss_curves import sensitivities, token_loss_on
from tprune.core.curves import Curve
from tprune.core.plan import make_plan
from tprune.core.selection import Limits, keep_best
from tprune.families.registry import couplings
from tprune.realise.mask import masked
from tprune.support.errors import InputError


def test_curves_are_the_losses_of_masked_models() -> None:
    model: Any = small_model("marian")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plan = make_plan(model, "marian", couplings(model, ("ffn", "heads", "vo")))
    loss = token_loss_on([small_batch()])
    curves = sensitivities(model, plan, loss, Limits(floor=0.0), shares=(0.5,))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [c.name for c in curves] == [c.name for c in plan.couplings]
    whole = loss(model)
    for curve, groups in zip(curves, plan.bind(model), strict=True):
        norms = groups.norms.detach()
        few = curve.kept[0]
        assert curve.kept == (few, norms.shape[-1]) and few == round(norms.shape[-1] / 2) and curve.losses[-1] == 0
        everything = {g.coupling.name: torch.ones(g.shape, dtype=torch.bool) for g in plan.bind(model)}
        one = plan.with_kept({**everything, curve.name: keep_best(norms, few)}, {}, {})
        assert curve.losses[0] == pytest.approx(max(0.0, loss(masked(model, one)) - whole), abs=1e-9)


def test_fewer_groups_never_cost_less() -> None:
    model: Any = small_model("marian")
    plan = make_plan(model, "marian", couplings(model, ("ffn",)))
    for curve in sensitivities(model, plan, token_loss_on([small_batch()]), Limits({"ffn": 2}, 0.1)):
        assert list(curve.losses) == sorted(curve.losses, reverse=True)
        assert all(k % 2 == 0 for k in curve.kept) and curve.kept[0] >= 2


def test_a_loss_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="a: the loss is not finite"):
        Curve("a", (1, 2), (float("nan"), 0.0))


def test_a_loss_of_no_labels_is_refused_and_a_failure_leaves_the_model_training() -> None:
    model: Any = small_model("marian").train()
    batch = small_batch()
    with pytest.raises(InputError, match="no label of the data counts"):
        token_loss_on([batch | {"labels": torch.full_like(batch["labels"], -100)}])(model)
    with pytest.raises(IndexError):
        token_loss_on([batch | {"input_ids": batch["input_ids"] + 10**6}])(model)
    assert model.training
