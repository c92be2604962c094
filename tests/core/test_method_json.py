"""Methods in plans: fields of dataclasses, methods and constraints, all the way down; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tprune.core.constraint import Constraint
from tprune.core.coupling import Coupling, Groups, producer
from tprune.core.known_constraints import CONSTRAINTS
from tprune.core.known_methods import METHODS
from tprune.core.method import Method, State, Update
from tprune.core.method_json import FIELDS, from_json, made, to_json
from tprune.core.plan import Plan, make_plan
from tprune.methods.constraints.largest import Largest
from tprune.methods.constraints.n_of_m import NOfM
from tprune.methods.gradual_magnitude import GradualMagnitude
from tprune.methods.group_lasso import GroupLasso
from tprune.support.codec import Codec
from tprune.support.errors import InputError


class Shape(StrEnum):
    CUBIC = "cubic"
    LINEAR = "linear"


@dataclass(frozen=True)
class Ramp:
    steps: int = 10
    shape: Shape = Shape.CUBIC

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise InputError(f"steps is {self.steps}; expected at least 0")


@dataclass(frozen=True)
class Faster(Ramp):
    """Not what its field says."""


class Zero(GroupLasso):
    """What all methods here do, which is beside the point."""


@dataclass(frozen=True)
class Nested(Zero):
    ramp: Ramp = Ramp()
    within: Constraint | None = None
    inner: tuple[Method, ...] = ()
    ramps: tuple[Ramp, ...] = ()
    pair: tuple[int, float] = (0, 0.0)
    axis: int | str | None = None
    by_kind: Mapping[str, Ramp] = field(default_factory=dict)
    either: Ramp | NOfM | None = None
    word: Literal["a", "b"] = "a"


@pytest.fixture(autouse=True, scope="module")
def entered() -> Iterator[None]:
    METHODS.enter("nested", Nested)
    yield
    del METHODS.entered["nested"]


ramps = st.builds(Ramp, st.integers(0, 9), st.sampled_from(Shape))
constraints = st.builds(NOfM, st.just(2), st.just(4), st.sampled_from(["i", -1])) | st.builds(
    Largest, st.integers(0, 9), st.none(), st.none() | st.integers(-1, 1) | st.sampled_from(["h", "d"])
)
plain = st.builds(GroupLasso) | st.builds(GradualMagnitude, st.floats(0, 1), st.just(0.0), st.integers(0, 9))


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        Nested,
        ramps,
        st.none() | constraints,
        st.lists(inner, max_size=2).map(tuple),
        st.lists(ramps, max_size=2).map(tuple),
        st.tuples(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
        st.none() | st.integers() | st.text(max_size=3),
        st.dictionaries(st.text(max_size=3), ramps, max_size=2),
        st.none() | ramps | st.just(NOfM(1, 2)),
        st.sampled_from(["a", "b"]),
    )


@settings(max_examples=60, deadline=None)
@given(st.recursive(plain, nested, max_leaves=4))
def test_methods_round_trip_through_plan_json(method: Method) -> None:
    plan = make_plan(nn.Linear(2, 2), "net", [Coupling("rows", (producer("weight", "o i -> o"),))], method=method)
    again = Plan.from_json(plan.to_json())
    assert again == plan and again.entries[0].method == method
    assert again.to_json() == plan.to_json()


def test_objects_in_fields_of_a_protocol_have_their_names() -> None:
    said = to_json(Nested(within=NOfM(2, 4), inner=(GroupLasso(),), either=Ramp(3)))
    assert said["within"] == {"name": "n_of_m", "n": 2, "m": 4, "axis": -1}
    assert said["inner"] == [{"name": "group_lasso"}] and said["ramp"] == {"steps": 10, "shape": "cubic"}
    assert said["either"] == {"name": "Ramp", "steps": 3, "shape": "cubic"}


def changed(**changes: Any) -> dict[str, Any]:
    whole = FIELDS.encode(Nested(within=NOfM(2, 4), inner=(GroupLasso(),), ramps=(Ramp(),)))
    return {"name": "nested", **whole, **changes}


REFUSED = [
    (changed(zeal=3), "method.zeal is unknown; expected ramp, within, inner"),
    (changed(ramp={"steps": "many"}), "method.ramp.steps is 'many'; expected a whole number"),
    (changed(ramp={"steps": True}), "method.ramp.steps is True; expected a whole number"),
    (changed(ramp={"paces": 3}), "method.ramp.paces is unknown; expected steps, shape"),
    (changed(ramp={"steps": -1}), "method.ramp: steps is -1; expected at least 0"),
    (changed(ramp={"shape": "round"}), "method.ramp.shape is 'round'; expected one of cubic, linear"),
    (changed(ramps=[{}, 3]), "method.ramps[1] is 3; expected an object"),
    (changed(ramps={}), "method.ramps is {}; expected a list"),
    (changed(pair=[1]), "method.pair is [1]; expected a list of 2"),
    (changed(pair=[1, "x"]), "method.pair[1] is 'x'; expected a number"),
    (changed(axis=[]), "method.axis is []; expected a whole number or a text"),
    (changed(within={"n": 2, "m": 4}), "method.within.name is None; expected one of largest, n_of_m"),
    (changed(within={"name": "n_of_m", "n": 2}), "method.within.m is missing"),
    (changed(within={"name": "n_of_m", "n": 3, "m": 2}), "method.within: n is 3 and m is 2"),
    (changed(within=3), "method.within is 3; expected an object"),
    (changed(inner=[{"name": "magic"}]), "method.inner[0].name is 'magic'; expected one of"),
    (changed(inner=[{"name": "group_lasso", "x": 1}]), "method.inner[0].x is unknown; expected nothing"),
    (changed(by_kind={"ffn": {"steps": 1.5}}), "method.by_kind.ffn.steps is 1.5; expected a whole number"),
    (changed(pair=[1, 10**400]), "expected a finite number"),
    (changed(word="c"), "method.word is 'c'; expected one of a, b"),
    (changed(either={"name": "Other"}), "method.either.name is 'Other'; expected one of NOfM, Ramp"),
    (changed(name="magic"), "unknown method 'magic'"),
    ("lasso", "method has no name"),
]


@pytest.mark.parametrize(("data", "says"), REFUSED, ids=[says[:40] for _, says in REFUSED])
def test_what_is_wrong_is_said_with_its_path(data: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        from_json(data)
    assert says in str(caught.value)


def test_a_plan_says_in_which_coupling_a_field_is_wrong() -> None:
    plan = make_plan(nn.Linear(2, 2), "net", [Coupling("rows", (producer("weight", "o i -> o"),))], method=Nested())
    data = json.loads(plan.to_json())
    data["entries"][0]["method"]["ramp"]["steps"] = None
    with pytest.raises(InputError, match=r"plan: coupling rows: method\.ramp\.steps is None; expected a whole number"):
        Plan.from_json(json.dumps(data))
    data["entries"][0]["method"] = "deep"
    deep = '{"name": "nested", "inner": [' * 400 + '{"name": "nested"}' + "]}" * 400
    text = json.dumps(data).replace('"deep"', deep)
    with pytest.raises(InputError, match=r"plan: (malformed \(nested too deeply|no JSON)"):
        Plan.from_json(text)


def test_fields_that_are_older_or_newer_than_a_plan_take_their_defaults() -> None:
    assert from_json({"name": "gradual_magnitude", "share": 0.25}) == GradualMagnitude(share=0.25)


def test_a_method_is_made_of_a_name_and_options() -> None:
    assert made("gradual_magnitude", {"share": 0.75, "over": 9}) == GradualMagnitude(share=0.75, over=9)
    with pytest.raises(InputError, match="method 'magic'; expected one of gradual_magnitude"):
        made("magic", {})
    with pytest.raises(InputError, match=r"prune\.x\.share is 'half'; expected a number"):
        made("gradual_magnitude", {"share": "half"}, "prune.x")
    with pytest.raises(InputError, match="expected 0 ≤ initial ≤ share ≤ 1"):
        made("gradual_magnitude", {"share": 2.0})


@dataclass(frozen=True)
class Untrue(Zero):
    steps: int = 1


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (Nested(ramps=[Ramp()]), r"method\.ramps\[0\] is Ramp\(.*; expected an object"),  # type: ignore[arg-type]
        (Nested(ramp=Faster()), "comes back from JSON as another"),
        (Nested(pair=(1, float("nan"))), r"method\.pair\[1\] is nan; expected a finite number"),
        (Nested(inner=(Untrue(),)), r"method\.inner\[0\] is a Untrue, which has no name; expected one of"),
    ],
)
def test_what_would_not_come_back_is_not_written(method: Method, says: str) -> None:
    with pytest.raises(InputError, match=says):
        to_json(method)


class NoDataclass:
    def init(self, groups: Groups) -> State:
        return {}

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        raise NotImplementedError


@dataclass
class Thawed(NoDataclass):
    steps: int = 1


@dataclass(frozen=True)
class Lame:
    def init(self, groups: Groups) -> State:
        return {}


@dataclass(frozen=True)
class Heavy(Zero):
    weights: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Named(Zero):
    name: str = "me"


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        (GroupLasso(), "it is a GroupLasso; expected the class"),
        (NoDataclass, "NoDataclass is no frozen dataclass"),
        (Thawed, "Thawed is no frozen dataclass"),
        (Lame, "Lame has no update"),
        (Heavy, r"Heavy: weights is set\[int\]; expected text, numbers"),
        (Named, "has a field 'name'"),
        (len, "it is a builtin_function_or_method; expected the class"),
    ],
)
def test_what_is_no_method_cannot_be_entered(thing: Any, says: str) -> None:
    with pytest.raises(InputError, match=f"method 'odd' cannot be entered: .*{says}"):
        METHODS.enter("odd", thing)
    assert "odd" not in METHODS


def test_what_is_no_constraint_cannot_be_entered() -> None:
    with pytest.raises(
        InputError, match="constraint 'odd' cannot be entered: GroupLasso has no nearest and no contains"
    ):
        CONSTRAINTS.enter("odd", GroupLasso)  # type: ignore[arg-type]


def test_ours_would_be_taken() -> None:
    for registry in (METHODS, CONSTRAINTS):
        assert all(registry.fault is not None and registry.fault(thing) is None for thing in registry.values())
    assert Codec().fault(Nested) == "within is Constraint"  # where nobody says what a protocol is
