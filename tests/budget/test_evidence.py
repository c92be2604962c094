"""What a budget is shared by: the losses that training wins back."""

from types import SimpleNamespace
from typing import Any

import pytest

from small_models import small_model
from tprune.budget import evidence
from tprune.budget.evidence import check_reachable, empties, measure_loss_curves
from tprune.core.curves import Curve
from tprune.recipe.schema import Prune
from tprune.run.steps import plan_step
from tprune.support.errors import InputError


def test_what_training_wins_back_counts_less(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = small_model("marian")
    how = Prune(steps=0, macs=0.5, expected_recovery={"ffn": 0.75})
    plan = plan_step(model, how)
    whole = tuple(Curve(c.name, (1, 2), (0.4, 0.0)) for c in plan.couplings)
    monkeypatch.setattr(evidence, "second_order_curves", lambda *_, **__: (whole, {}))
    monkeypatch.setattr(evidence, "objective_of", lambda *_: lambda model: 0.0)
    material: Any = SimpleNamespace(task=None, train=None, valid=None, batches=lambda data, sentences: [])
    found = {c.name: c.losses for c in measure_loss_curves(model, plan, how, material)}
    for coupling in plan.couplings:
        assert found[coupling.name] == pytest.approx((0.1 if coupling.kind == "ffn" else 0.4, 0.0))


def test_sublayers_may_be_emptied_by_floor_or_floors() -> None:
    assert not empties(Prune(steps=0, macs=0.5))
    assert empties(Prune(steps=0, macs=0.5, floor=0.0)) and empties(Prune(steps=0, macs=0.5, floors={"ffn": 0.0}))
    assert not empties(Prune(steps=0, macs=0.5, floors={"qk": 0.0}))


def test_couplings_that_share_no_budget_are_refused_before_anything_is_measured(marian_small: Any) -> None:
    how = Prune(kinds=["lines"], steps=0, macs=0.7, allocation="loss")
    with pytest.raises(InputError, match="share"):
        check_reachable(marian_small.float(), plan_step(marian_small, how), how)
