"""Policies: the size asked for is reached, and the size on paper is that of the model that is built."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from tprune.budget.size import UNITS, Budget, select_to
from tprune.core.plan import Plan, make_plan
from tprune.core.selection import Limits, Select, Shared, Uniform
from tprune.costs.size import norm_scores, size_after
from tprune.counting.size import size
from tprune.families.registry import couplings
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError, UnreachableError
from tprune.tasks.translation.encoding import MarianSize, new_model


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    found = new_model(MarianSize(32, (2, 1), 4, 64, 60, 0.0, 32), 60).eval()
    with torch.no_grad():
        for p in found.parameters():
            p.mul_(1 + 0.5 * torch.rand_like(p))
    return found


def plan_of(model: Any, *kinds: str) -> Plan:
    return make_plan(model, "marian", couplings(model, kinds))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    ("kinds", "fraction"), [(("ffn",), 0.8), (("ffn", "heads"), 0.6), (("ffn", "qk", "vo"), 0.6), (("width",), 0.5)]
)
def test_the_target_is_reached_closely_and_the_built_model_has_that_size(
    model: Any, unit: str, kinds: tuple[str, ...], fraction: float
) -> None:
    plan = select_to(model, plan_of(model, *kinds), Budget(unit, fraction), Uniform(Limits(floor=0.05)))
    budget = fraction * Budget(unit, fraction).of(size(model))
    assert plan.selected and plan.asked == {unit: budget}
    reached = plan.reached[unit]
    assert 0.85 * budget < reached <= budget  # a step of one head in each layer is coarse in so small a model
    small = shrink(model, plan)
    assert size(small) == size_after(model, plan)
    assert Budget(unit, fraction).of(size(small)) == reached


def test_sharing_by_weight_protects_what_is_worth_more(model: Any) -> None:
    plan = plan_of(model, "ffn")
    first = plan.entries[0].coupling.name
    select: Select = Shared({first: 10.0}, Limits(floor=0.05))
    chosen = select_to(model, plan, Budget("parameters", 0.85), select)
    kept = {e.coupling.name: len(e.kept or ()) for e in chosen.entries}
    assert kept[first] == 64 and all(units < 64 for name, units in kept.items() if name != first)


def test_given_scores_rank_instead_of_norms(model: Any) -> None:
    plan = plan_of(model, "ffn")
    scores = {name: torch.arange(64.0) for name in norm_scores(model, plan)}
    chosen = select_to(model, plan, Budget("parameters", 0.8), Uniform(), scores)
    for entry in chosen.entries:
        assert entry.kept is not None and entry.kept == tuple(range(64 - len(entry.kept), 64))


def test_norm_scores_are_the_norms(model: Any) -> None:
    plan = plan_of(model, "ffn")
    layer = model.model.encoder.layers[0]
    expected = (layer.fc1.weight.square().sum(1) + layer.fc2.weight.square().sum(0)).sqrt()
    found = norm_scores(model, plan)["model.encoder.layers.0.ffn"]
    torch.testing.assert_close(found, expected.detach())
    assert not found.requires_grad


def test_the_whole_model_is_kept_where_it_is_small_enough(model: Any) -> None:
    plan = select_to(model, plan_of(model, "ffn"), Budget("macs", 1.0), Uniform())
    assert all(bool(e.keep.all()) for e in plan.entries)


def test_an_unreachable_target_says_what_can_be_reached(model: Any) -> None:
    with pytest.raises(
        UnreachableError, match=r"asked for [\d,]+ params, but the plan's couplings can reach [\d,]+ at least"
    ):
        select_to(model, plan_of(model, "ffn"), Budget("parameters", 0.1), Uniform())


def test_multiples_are_respected(model: Any) -> None:
    plan = select_to(model, plan_of(model, "ffn"), Budget("macs", 0.8), Uniform(Limits({"ffn": 16})))
    assert {len(e.kept or ()) % 16 for e in plan.entries} == {0}


def test_half_precision_models_count_two_bytes(model: Any) -> None:
    plan = plan_of(model, "ffn")
    full, half = size_after(model, plan), size_after(copy.deepcopy(model).bfloat16(), plan)
    assert full.bytes == 4 * full.parameters and half.bytes == 2 * half.parameters


@pytest.mark.parametrize(
    ("unit", "fraction", "says"),
    [
        ("flops", 0.5, "known are macs, params, bytes"),
        ("macs", 0.0, "got 0.0"),
        ("macs", 1.5, "at least 1000, got 1.5"),
    ],
)
def test_bad_targets(unit: str, fraction: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Budget(unit, fraction)


def test_a_number_is_as_good_as_a_fraction(model: Any) -> None:
    plan, dense = plan_of(model, "ffn"), size(model)
    number = select_to(model, plan, Budget("parameters", 0.8 * dense.parameters), Uniform())
    assert number == select_to(model, plan, Budget("params", 0.8), Uniform())
    assert Budget("parameters", 0.5).unit == "params"
    with pytest.raises(InputError, match=r"asked for 9,000,000 bytes, but the dense model has [\d,]+ only"):
        select_to(model, plan, Budget("bytes", 9e6), Uniform())
