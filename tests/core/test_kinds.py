"""The table of kinds: one row each, and what is read from it."""

import subprocess
import sys
from typing import get_args

import pytest

from tprune.core import kinds
from tprune.core.kinds import (
    BY_DEFAULT,
    COVERING,
    FINEST,
    INNER,
    KINDS,
    OTHER,
    PARTS,
    SHARING,
    STOCK,
    TILING,
    TO_CUT,
    WHOLE_BLOCK,
    WIDTH,
    Kind,
    Scope,
    rule_of,
)
from tprune.recipe.changes import BUILT_IN
from tprune.recipe.reader import check_recipe, read_recipe
from tprune.recipe.schema import Prune
from tprune.support.errors import InputError


def test_every_kind_has_a_row_and_every_row_a_kind() -> None:
    assert get_args(Kind) == tuple(KINDS)
    assert all(rule_of(kind) is rule for kind, rule in KINDS.items()) and rule_of("pixels") is OTHER


def test_a_recipe_may_name_the_kinds_that_plugins_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "ENTERED", {})
    asked = {"steps": 0, "macs": 0.5, "kinds": ["ffn", "pixels"], "floors": {"pixels": 0.1}}
    recipe = {"data": {}, "train": {"steps": 1}, "prune": asked, "recover": {"steps": 1}}
    ours = ", ".join(KINDS)
    with pytest.raises(InputError, match=rf"prune.kinds.1: expected one of {ours}, got 'pixels'"):
        check_recipe(recipe)
    kinds.enter("pixels", "the pixels of an image")
    assert check_recipe(recipe).prune.kinds == ["ffn", "pixels"]
    assert rule_of("pixels").label == "the pixels of an image" and rule_of("pixels").scope is Scope.OTHER
    with pytest.raises(InputError, match=rf"prune.kinds.0: expected one of {ours}, pixels, got 'pixel'"):
        check_recipe({**recipe, "prune": {"steps": 0, "macs": 0.5, "kinds": ["pixel"]}})
    with pytest.raises(InputError, match="two kinds of couplings are called 'ffn'; a plugin's needs a name of its own"):
        kinds.enter("ffn", "others")


def test_what_the_rows_say() -> None:
    assert PARTS == ("ffn", "heads", "qk", "vo", "queries", "experts", "units", "channels", "embedding")
    assert COVERING == ("ffn", "heads", "experts", "channels", "embedding")
    assert FINEST == ("ffn", "qk", "vo", "queries", "units", "channels", "embedding")
    inner = {"heads": ("qk", "vo", "queries"), "experts": ("units",)}
    assert {kind: inner.get(kind, ()) for kind in COVERING} == INNER
    assert TILING == {**INNER, "heads": ("qk", "vo")}
    assert (WHOLE_BLOCK, WIDTH) == ("sublayer", "width") and (*PARTS, "sublayer") == SHARING
    assert (*PARTS, "sublayer", "width") == TO_CUT
    assert {kind for kind, rule in KINDS.items() if rule.balanced} == {"qk", "vo", "queries", "units"}
    assert {kind for kind, rule in KINDS.items() if rule.may_be_empty} == {"ffn", "heads", "lines"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_whole(kind: str) -> None:
    rule = rule_of(kind)
    assert rule.label and rule.scope is not Scope.OTHER
    assert list(rule.shares) == sorted(rule.shares, reverse=True) and 0 <= rule.shares[-1] < rule.shares[0] == 1
    if rule.within is not None:  # one step is all that costs know how to add up
        assert rule.scope is Scope.PART and rule_of(rule.within).covers_block


def test_what_is_cut_where_nothing_is_said() -> None:
    assert tuple(Prune(steps=0, macs=0.5).kinds) == BY_DEFAULT == ("ffn", "heads")
    assert tuple(Prune(steps=0, macs=0.5, stock=True).kinds) == STOCK == ("ffn",)
    assert tuple(read_recipe(BUILT_IN).prune.kinds) == ("ffn", "heads", "qk", "vo")


def test_the_table_needs_nothing_heavy() -> None:
    code = "import sys, tprune.core.kinds; assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
