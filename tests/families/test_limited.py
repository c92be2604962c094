"""Rows without some kinds of couplings: what stays of a block that cannot go, and stock classes."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from table_models import outputs, table_model
from tprune.budget.reach import smallest
from tprune.budget.request import limits_of
from tprune.core.coupling import Coupling
from tprune.core.plan import make_plan
from tprune.families.feed_forward import FeedForward
from tprune.families.limited import Limited
from tprune.families.opt import OPT
from tprune.families.registry import trying
from tprune.families.table import Table
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.recipe.schema import Prune
from tprune.support.errors import InputError
from tprune.testing.common import apart


def limited(*without: str) -> Table:
    def rows(model: Any) -> list[Any]:
        return [Limited(row, without) if isinstance(row, FeedForward) else row for row in OPT.rows(model)]

    return replace(OPT, rows=rows)


def units(table: Table, model: Any) -> list[Coupling]:
    return [coupling for coupling in table.couplings(model) if coupling.kind == "ffn"]


def test_a_block_that_cannot_go_keeps_a_group_in_one_shot() -> None:
    model, floorless = table_model("opt"), Prune(steps=0, macs=0.5, kinds=["ffn"], floor=0.0)
    assert not any(c.needed for table in (OPT, limited("lines")) for c in units(table, model))
    plan = make_plan(model, "opt", units(OPT, model))
    assert [int(kept.sum()) for kept in smallest(model, plan, limits_of(floorless, plan)).values()] == [0, 0]
    table = limited("sublayer")
    with trying(table):
        plan = make_plan(model, "opt", units(table, model))
        kept = smallest(model, plan, limits_of(floorless, plan))
        assert [int(mask.sum()) for mask in kept.values()] == [1, 1]
        least = plan.with_kept(kept, {}, {})
        assert apart(outputs(masked(model, least)), outputs(shrink(model, least))) < 1e-9
        none = plan.with_kept({name: torch.zeros_like(mask) for name, mask in kept.items()}, {}, {})
        with pytest.raises(InputError, match=r"nothing is left of it, .* keep at least one group"):
            shrink(model, none)


def test_a_stock_class_is_told_the_units_of_limited_rows() -> None:
    model, table = table_model("opt"), limited("sublayer")
    with trying(table):
        plan = make_plan(model, "opt", units(table, model))
        plan = plan.with_kept({entry.coupling.name: torch.arange(20) % 3 > 0 for entry in plan.entries}, {}, {})
        small = shrink(model, plan, stock=True)
        assert type(small) is type(model) and small.config.ffn_dim == 13
        assert apart(outputs(masked(model, plan)), outputs(small)) < 1e-9
