"""What a budget is shared by: the losses that training wins back."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from small_models import small_model
from tprune.budget import evidence
from tprune.budget.evidence import check_reachable, empties, measure_loss_curves
from tprune.core.curves import Curve
from tprune.core.plan import Plan
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


def test_blocks_may_be_emptied_by_floor_or_floors_unless_they_are_needed() -> None:
    model: Any = small_model("marian")
    dense = plan_step(model, Prune(steps=0, macs=0.5))

    def found(plan: Plan = dense, **floors: Any) -> bool:
        return empties(Prune(steps=0, macs=0.5, **floors), plan)

    assert not found() and not found(floors={"qk": 0.0})
    assert found(floor=0.0) and found(floors={"ffn": 0.0})
    needed = [replace(entry, coupling=replace(entry.coupling, needed=True)) for entry in dense.entries]
    assert not found(replace(dense, entries=tuple(needed)), floor=0.0)


def test_couplings_that_share_no_budget_are_refused_before_anything_is_measured(marian_small: Any) -> None:
    how = Prune(kinds=["lines"], steps=0, macs=0.7, allocation="loss")
    with pytest.raises(InputError, match="share"):
        check_reachable(marian_small.float(), plan_step(marian_small, how), how)
