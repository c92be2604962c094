"""Sizes in parameters and bytes need no pass, and are those that a pass gives."""

from __future__ import annotations

import pytest
import torch

import tprune
from small_models import small_model
from tprune.budget.size import Budget, select_to
from tprune.core.plan import make_plan
from tprune.core.selection import Uniform
from tprune.costs.size import PlanSizes, Stored, size_after
from tprune.counting.size import size


def test_what_is_stored_is_what_size_counts() -> None:
    model = small_model("marian").to(torch.float16)
    stored, counted = Stored.like(model), size(model.float())
    assert stored == Stored(2) and stored(model) == 2 * counted.parameters
    assert stored.exempt(["a", "b"]) == (False, False)


@pytest.mark.parametrize("unit", ["params", "bytes"])
def test_no_pass_is_made_for_parameters_and_bytes(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("marian")
    plan = make_plan(model, "marian", tprune.couplings(model, ["ffn", "heads"]))

    def no_pass(*_: object) -> None:
        raise AssertionError("a pass was made")

    with monkeypatch.context() as patched:
        patched.setattr("tprune.costs.size.size_on_paper", no_pass)
        patched.setattr("tprune.costs.size.size", no_pass)
        found = select_to(model, plan, Budget(unit, 0.8), Uniform())
    counted, dense = size_after(model, found), PlanSizes(model, plan).dense
    assert found.reached[unit] == Budget(unit, 0.8).of(counted) <= 0.8 * Budget(unit, 0.8).of(dense)
