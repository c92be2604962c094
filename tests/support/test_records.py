"""Dataclasses as JSON and back, and what is said of data that is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tprune.support.records import decoded, encoded


@dataclass(frozen=True)
class Part:
    size: int
    name: str = "none"


@dataclass(frozen=True, kw_only=True)
class Whole:
    left: Part
    share: float | None = None
    ratio: float
    ok: bool
    commit: str | None
    ends: tuple[float, float]
    words: tuple[str, ...] = ()
    parts: Mapping[str, Part]


WHOLE = Whole(left=Part(1), ratio=2, ok=True, commit=None, ends=(1.0, 2), words=("a",), parts={"b": Part(3, "c")})
DATA = {
    "left": {"size": 1, "name": "none"},
    "ratio": 2,
    "ok": True,
    "commit": None,
    "ends": [1.0, 2],
    "words": ["a"],
    "parts": {"b": {"size": 3, "name": "c"}},
}


def test_a_record_comes_back_with_its_keys_in_order_and_its_numbers_as_they_were() -> None:
    assert json.dumps(encoded(WHOLE)) == json.dumps(DATA)
    assert decoded(Whole, json.loads(json.dumps(DATA))) == WHOLE
    assert type(decoded(Whole, DATA).ratio) is int


def test_what_may_be_missing_may_and_what_is_not_known_is_ignored() -> None:
    data = {key: value for key, value in DATA.items() if key not in ("commit", "words")} | {"new": 1}
    found = decoded(Whole, {**data, "left": {"size": 1}})
    assert (found.commit, found.words, found.share, found.left) == (None, (), None, Part(1))
    assert "share" not in encoded(found) and encoded(decoded(Whole, {**data, "share": 0.5}))["share"] == 0.5


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"left": 3}, "left is 3; expected an object"),
        ({"left": {}}, "left.size is missing"),
        ({"left": {"size": True}}, "left.size is True; expected a whole number"),
        ({"left": {"size": 1.5}}, "left.size is 1.5; expected a whole number"),
        ({"left": None}, "left is None; expected an object"),
        ({"share": "x"}, "share is 'x'; expected a number"),
        ({"ratio": None}, "ratio is None; expected a number"),
        ({"ok": 1}, "ok is 1; expected true or false"),
        ({"commit": 1}, "commit is 1; expected a text"),
        ({"ends": [1.0]}, "ends is [1.0]; expected a list of 2"),
        ({"ends": [1.0, "a"]}, "ends[1] is 'a'; expected a number"),
        ({"words": "ab"}, "words is 'ab'; expected a list"),
        ({"parts": []}, "parts is []; expected an object"),
        ({"parts": {"b": {"size": "c"}}}, "parts.b.size is 'c'; expected a whole number"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as error:
        decoded(Whole, {**DATA, **changes})
    assert str(error.value) == says
    with pytest.raises(ValueError, match=r"^file\."):
        decoded(Whole, {**DATA, **changes}, "file")
    with pytest.raises(ValueError, match="all of it is"):
        decoded(Whole, [DATA])
