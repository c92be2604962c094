"""Plans whose entries name realisations: ours, those of others, mixed; and names that nobody has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from small_models import small_batch
from tprune.core.known_realisations import REALISATIONS
from tprune.core.plan import Plan, make_plan
from tprune.core.realisation import Cutting, Realisation, cutting_of, parts
from tprune.families.registry import couplings
from tprune.realise.gathered import GATHERED
from tprune.realise.mask import mask_, masked
from tprune.realise.shrink import shrink
from tprune.realise.shrunk import SHRUNK
from tprune.support.errors import InputError
from tprune.testing import check_agrees, random_kept

CALLS: list[int] = []


def counted(model: nn.Module, plan: Plan) -> nn.Module:
    """As masked; notes for how many entries."""
    CALLS.append(len(plan.entries))
    return masked(model, plan)


class Wrapped(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner


def wrapped(model: nn.Module, plan: Plan) -> nn.Module:
    return Wrapped(masked(model, plan))


@pytest.fixture(autouse=True)
def entered() -> Iterator[None]:
    CALLS.clear()
    REALISATIONS.enter("counted", counted)
    REALISATIONS.enter("wrapped", wrapped)
    yield
    REALISATIONS.entered.clear()


def plan_of(model: Any, **realisations: str) -> Plan:
    plan = random_kept(model, make_plan(model, "marian", couplings(model, ["ffn", "heads", "qk"])))
    entries = tuple(replace(e, realisation=realisations.get(e.coupling.kind, e.realisation)) for e in plan.entries)
    return replace(plan, entries=entries)


def test_ours_are_realisations_and_two_of_them_cut() -> None:
    assert set(REALISATIONS) == {"masked", "shrunk", "gathered", "counted", "wrapped"}
    assert all(isinstance(found, Realisation) for found in REALISATIONS.values())
    assert not isinstance(masked, Cutting) and cutting_of("masked") is None
    assert (cutting_of("shrunk"), cutting_of("gathered")) == (SHRUNK, GATHERED)


def test_a_realisation_of_others_is_called_with_its_entries_before_the_cut(marian_small: Any) -> None:
    plan = plan_of(marian_small, ffn="counted")
    small = shrink(marian_small, plan)
    assert [sum(e.coupling.kind == "ffn" for e in plan.entries)] == CALLS
    check_agrees(masked(marian_small, plan), small, small_batch())
    layer: Any = small.get_submodule("model.encoder.layers.0")
    assert layer.fc1.out_features == 12 and layer.self_attn.num_heads < 4


def test_a_plan_that_cuts_nothing_is_realised_without_a_family() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    from tprune.core.coupling import Coupling, producer

    plan = make_plan(model, "none", [Coupling("rows", (producer("0.weight", "u i -> u"),))])
    plan = plan.with_kept({"rows": torch.tensor([True, False, True, True])}, {}, {})
    plan = replace(plan, entries=tuple(replace(e, realisation="masked") for e in plan.entries))
    twin = shrink(model.train(), plan)
    mask_(model, plan)
    assert twin.training and torch.equal(twin.get_parameter("0.weight"), model[0].weight)


def test_one_that_changes_tensors_cannot_be_followed_by_another(marian_small: Any) -> None:
    with pytest.raises(
        InputError, match="'wrapped' changes names or shapes of tensors, so that 'shrunk' cannot follow"
    ):
        shrink(marian_small, plan_of(marian_small, ffn="wrapped"))
    alone = shrink(marian_small, plan_of(marian_small, ffn="wrapped", heads="wrapped", qk="wrapped"))
    assert isinstance(alone, Wrapped)


def test_each_of_ours_realises_all_entries_whatever_they_name(marian_small: Any) -> None:
    plan = plan_of(marian_small)
    for realisation in (SHRUNK, masked):
        twin: Any = realisation(marian_small, plan_of(marian_small, ffn="counted", heads="masked", qk="masked"))
        check_agrees(masked(marian_small, plan), twin, small_batch())
    assert not CALLS


def test_names_go_through_json_and_unknown_ones_are_refused_with_the_list(marian_small: Any) -> None:
    plan = plan_of(marian_small, ffn="counted")
    assert Plan.from_json(plan.to_json()) == plan
    assert {name: len(part.entries) for name, part in parts(plan).items()} == {
        name: sum(e.realisation == name for e in plan.entries) for name in ("counted", "shrunk")
    }
    data = json.loads(plan.to_json())
    data["entries"][0]["realisation"] = "dreamt"
    known = "counted, gathered, masked, shrunk, wrapped"
    with pytest.raises(InputError, match=f"coupling .*: realisation 'dreamt'; expected one of {known}"):
        Plan.from_json(json.dumps(data))
    with pytest.raises(InputError, match=f"realisation 'Dreamt'; expected one of {known}"):
        replace(plan.entries[0], realisation="Dreamt")
