"""Plans: JSON round trip, files that are no plans, and what a person reads."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from small_models import small_batch, small_model
from tprune.budget.size import Budget, select_to
from tprune.core.coupling import Coupling, Groups, bias, consumer, producer
from tprune.core.known_realisations import REALISATIONS
from tprune.core.method import State, Update
from tprune.core.plan import Entry, Mode, Plan, fingerprint, make_plan
from tprune.core.selection import Uniform
from tprune.core.sites import Site
from tprune.families.registry import couplings
from tprune.methods.group_lasso import GroupLasso
from tprune.methods.hoyer_square import HoyerSquare, PacedHoyerSquare
from tprune.realise.certificate import certify
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import random_kept

FFN = Coupling(
    "ffn",
    (producer("up.weight", "u i -> u"), bias("up.bias", "u -> u"), consumer("down.weight", "o u -> u")),
    kind="ffn",
)
QK = Coupling("qk", (producer("qkv.weight", "(h d) i -> h d", slice(0, 6), h=2),), kind="qk")
LINES = Coupling("up.in", (consumer("up.weight", "o i -> i"),), closed=False, kind="lines")
WHOLE = Coupling("all", (producer("up.weight", "o i ->"),), kind="sublayer")


class Net(nn.Module):
    def __init__(self, units: int = 4) -> None:
        super().__init__()
        self.up, self.down, self.qkv = nn.Linear(3, units), nn.Linear(units, 3), nn.Linear(3, 18)


def small_plan(**changes: Any) -> Plan:
    return make_plan(Net(), "net", [FFN, QK, LINES, WHOLE], **changes)


@st.composite
def entries(draw: st.DrawFn) -> tuple[Any, ...]:
    coupling, groups = draw(st.sampled_from([(FFN, (4,)), (QK, (2, 3)), (LINES, (3,)), (WHOLE, ())]))
    total = math.prod(groups)
    kept = draw(st.none() | st.sets(st.integers(0, total - 1)).map(lambda found: tuple(sorted(found))))
    method = draw(st.sampled_from([GroupLasso(), HoyerSquare(), PacedHoyerSquare()]))
    mode, realisation = draw(st.sampled_from(Mode)), draw(st.sampled_from(sorted(REALISATIONS)))
    return coupling, groups, method, mode, draw(st.floats(0, 1e6)), realisation, kept


numbers = st.dictionaries(st.sampled_from(["macs", "bytes"]), st.floats(0, 1e12))


@given(st.lists(entries(), max_size=4), numbers, numbers)
@settings(max_examples=60, deadline=None)
def test_json_round_trip(found: list[tuple[Any, ...]], asked: dict[str, float], reached: dict[str, float]) -> None:
    plan = Plan("net", "f" * 16, tuple(Entry(*fields) for fields in found), asked, reached)
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert [torch.equal(a.keep, b.keep) for a, b in zip(again.entries, plan.entries, strict=True)] == [True] * len(
        found
    )
    assert again.to_json() == plan.to_json()
    assert str(again) == str(plan)


def test_file_round_trip(tmp_path: Path) -> None:
    plan = small_plan(strengths=0.5)
    path = tmp_path / "plan.json"
    path.write_text(plan.to_json(), encoding="utf-8")
    assert Plan.load(path) == Plan.load(str(path)) == plan


def edited(change: Callable[[dict[str, Any]], object]) -> str:
    data: dict[str, Any] = json.loads(small_plan().to_json())
    change(data)
    return json.dumps(data)


def entry(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda data: data["entries"][0].update(changes)


MALFORMED = [
    ("", "no JSON"),
    ("{", "no JSON"),
    ("[]", "not a tprune plan"),
    ("null", "not a tprune plan"),
    (edited(lambda d: d.update(tprune_plan=2)), "version 1"),
    (edited(lambda d: d.pop("tprune_plan")), "version 1"),
    (edited(lambda d: d.pop("entries")), "entries"),
    (edited(lambda d: d.pop("family")), "family"),
    (edited(lambda d: d.update(family=["a"])), "family is ['a']; expected text"),
    (edited(lambda d: d.update(entries=7)), "malformed"),
    (edited(lambda d: d.update(entries=[7])), "malformed"),
    (edited(lambda d: d["entries"][0].pop("views")), "views"),
    (edited(lambda d: d["entries"][0]["views"][0].update(pattern="u i")), "->"),
    (edited(lambda d: d["entries"][0]["views"][0].update(role="eater")), "eater"),
    (edited(lambda d: d["entries"][0]["views"][0].update(sizes={"u": "four"})), "malformed"),
    (edited(lambda d: d["entries"][0]["views"][0].update(rows=[3, 1])), "0 ≤ start < stop"),
    (edited(entry(mode="sideways")), "sideways"),
    (edited(entry(realisation="dreamt")), "dreamt"),
    (edited(entry(strength="much")), "much"),
    (edited(entry(strength=-1)), "strength must be a number ≥ 0"),
    (edited(entry(strength=math.nan)), "NaN is no JSON"),
    ("[" * 100_000, "no JSON"),
    (edited(lambda d: d.update(asked={"macs": math.inf})), "Infinity is no JSON"),
    (edited(lambda d: d.update(asked={"macs": "half"})), "asked is {'macs': 'half'}; expected numbers by unit"),
    (edited(lambda d: d.update(reached="x")), "reached is 'x'; expected numbers by unit"),
    (edited(lambda d: d.update(author="me")), "unknown key 'author'; expected asked, entries"),
    (edited(entry(method={"name": "magic"})), "unknown method 'magic'; known are gradual_magnitude, group_lasso"),
    (edited(entry(method={"name": "group_lasso", "zeal": 3})), "zeal"),
    (edited(entry(method={})), "name"),
    (edited(entry(kept=[0, 0])), "sorted, distinct"),
    (edited(entry(kept=[1, 0])), "sorted, distinct"),
    (edited(entry(kept=[4])), "within 0..3"),
    (edited(entry(kept=[-1])), "whole numbers"),
    (edited(entry(kept=["a"])), "whole numbers"),
    (edited(entry(kept=[0.5])), "whole numbers"),
    (edited(entry(kept=3)), "malformed"),
    (edited(entry(groups=["4"])), "whole numbers"),
    (edited(entry(needed="no")), "needed is 'no'; expected true or false"),
    (edited(entry(needed=1)), "needed is 1; expected true or false"),
    (edited(entry(needed=None)), "needed is None; expected true or false"),
    (edited(entry(site="decoder")), "site 'decoder'; expected [stack, layer or null, block]"),
    (edited(entry(site=["decoder", -1, "residual"])), "expected [stack, layer or null, block]"),
    (edited(entry(site=["decoder", True, "residual"])), "expected [stack, layer or null, block]"),
    (edited(entry(site=["decoder", 1])), "expected [stack, layer or null, block]"),
]


@pytest.mark.parametrize(
    "site", [None, Site("decoder", 2, "cross_attention"), Site("", None, "residual"), Site("s", 0, "x y")]
)
def test_a_site_goes_to_json_and_back_whatever_the_coupling_is_called(site: Site | None) -> None:
    called = replace(FFN, name="model.encoder.layers.0.ffn", site=site)
    plan = make_plan(Net(), "net", [called])
    assert json.loads(plan.to_json())["entries"][0]["site"] == (None if site is None else list(site))
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("family", ["marian", "bart"])
def test_a_plan_from_before_sites_loads_as_if_it_had_them(family: str) -> None:
    model: Any = small_model(family)
    plan = random_kept(model, make_plan(model, family, couplings(model)))
    data = json.loads(plan.to_json())
    for old in data["entries"]:
        del old["site"]
    loaded = Plan.from_json(json.dumps(data))
    assert loaded == plan and all(coupling.site is not None for coupling in loaded.couplings)


@pytest.mark.slow
def test_a_plan_from_before_sites_works() -> None:
    model: Any = small_model("marian")
    plan = make_plan(model, "marian", couplings(model, ["heads", "qk", "vo", "ffn", "sublayer", "width"]))
    data = json.loads(plan.to_json())
    for old in data["entries"]:
        del old["site"]
    loaded = select_to(model, Plan.from_json(json.dumps(data)), Budget("macs", 0.5), Uniform())
    assert loaded == select_to(model, plan, Budget("macs", 0.5), Uniform())
    assert certify(model, loaded, shrink(model, loaded), small_batch()).forward < 1e-9


@pytest.mark.parametrize(("text", "says"), MALFORMED)
def test_what_is_no_plan_is_refused_in_one_line_naming_the_file(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "some-plan.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        Plan.load(path)
    message = str(caught.value)
    assert says in message and "some-plan.json" in message and "\n" not in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe4"}')
    for name in ("missing.json", "latin.json", "."):
        with pytest.raises(InputError, match="cannot be read"):
            Plan.load(tmp_path / name)


def test_a_plan_binds_only_the_model_it_was_made_for() -> None:
    plan = small_plan()
    assert [g.coupling.name for g in plan.bind(Net())] == ["ffn", "qk", "up.in", "all"]
    with pytest.raises(InputError, match=f"fingerprint {plan.fingerprint}, this one has {fingerprint(Net(5))}"):
        plan.bind(Net(5))
    with pytest.raises(InputError, match="ffn has 5 groups, in the plan it has 4"):
        plan.bind(Net(5))
    with pytest.raises(InputError, match=r"it has no up\.weight"):
        plan.bind(torch.nn.Linear(2, 2))
    assert fingerprint(Net()) == fingerprint(Net().double()) != fingerprint(Net(5))


def test_make_plan_sets_groups_realisations_and_strengths() -> None:
    plan = small_plan(
        method=GroupLasso(), mode=Mode.GRADIENT, strengths={"ffn": 1.0, "qk": 0.5, "up.in": 0.0, "all": 2.0}
    )
    assert [e.groups for e in plan.entries] == [(4,), (2, 3), (3,), ()]
    assert [e.realisation for e in plan.entries] == ["shrunk", "shrunk", "gathered", "shrunk"]
    assert [e.strength for e in plan.entries] == [1.0, 0.5, 0.0, 2.0]
    assert not plan.selected and all(bool(e.keep.all()) for e in plan.entries)


def test_with_kept_fills_in_flat_indices() -> None:
    keep = torch.tensor([[True, False, True], [False, True, True]])
    plan = small_plan().with_kept({"qk": keep}, {"macs": 10.0}, {"macs": 9.0})
    chosen = plan.entries[1]
    assert chosen.kept == (0, 2, 4, 5) and torch.equal(chosen.keep, keep)
    assert plan.entries[0].kept is None and not plan.selected
    everything = {e.coupling.name: e.keep for e in plan.entries}
    assert small_plan().with_kept(everything, {}, {}).selected
    with pytest.raises(InputError, match="no coupling 'elsewhere'"):
        plan.with_kept({"elsewhere": keep}, {}, {})
    with pytest.raises(InputError, match="coupling qk: kept indices"):
        plan.with_kept({"qk": torch.ones(9, dtype=torch.bool)}, {}, {})


def test_a_plan_reads_as_a_table() -> None:
    plan = small_plan(strengths=0.25).with_kept(
        {"ffn": torch.tensor([True, False, False, False])}, {"macs": 1e6}, {"macs": 9e5}
    )
    head, *lines = str(plan).splitlines()
    assert head.split() == ["coupling", "groups", "kept", "structure", "method", "mode", "strength", "realisation"]
    assert lines[0].split() == [
        "ffn",
        "4",
        "1",
        "(25%)",
        "u",
        "i",
        "->",
        "u",
        "paced_hoyer_square",
        "proximal",
        "0.25",
        "shrunk",
    ]
    assert "2x3" in lines[1] and " - " in lines[1]
    assert lines[-1] == "macs: asked 1e+06, reached 9e+05"


class Homemade:
    def init(self, groups: Groups) -> State:
        return {}

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        return Update(groups.norms.sum(), torch.ones_like(groups.norms)), state


def test_a_method_without_a_name_cannot_be_written() -> None:
    with pytest.raises(InputError, match="has no name in plans; known are"):
        small_plan(method=Homemade()).to_json()


@pytest.mark.parametrize("strength", [-1.0, math.inf, math.nan])
def test_strengths_must_be_numbers(strength: float) -> None:
    with pytest.raises(InputError, match="coupling ffn: strength"):
        small_plan(strengths=strength)


def test_make_plan_takes_a_methods_name_and_checks_what_it_is_given() -> None:
    assert small_plan(method="group_lasso") == small_plan(method=GroupLasso())
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"method": "magic"}, "method 'magic'; expected one of gradual_magnitude, group_lasso"),
        ({"method": GroupLasso}, r"method GroupLasso is a class; expected one of its objects, GroupLasso\(\.\.\.\)"),
        ({"strengths": {"ffn": 1.0}}, "strengths: nothing for coupling qk; expected a number for each"),
        ({"strengths": dict.fromkeys(["ffn", "qk", "up.in", "all", "heads"], 1.0)}, "no coupling 'heads' in the plan"),
    ]
    for given_, says in wrong:
        with pytest.raises(InputError, match=says):
            small_plan(**given_)
