"""The forecast says what the cut model turns out to be."""

import json
from typing import Any

import pytest
from test_allocate import ALL, EVERY
from test_latency_policy import TABLE

from small_models import small_model
from tprune.budget.allocate import Allocation, filled
from tprune.budget.forecast import forecast
from tprune.core.plan import Plan, make_plan
from tprune.core.sublayers import sublayers_of
from tprune.costs.size import norm_scores
from tprune.counting.size import size
from tprune.families.registry import couplings
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError


@pytest.fixture(scope="module")
def selected() -> tuple[Any, Plan]:
    model: Any = small_model("marian")
    plan = make_plan(model, "marian", couplings(model, ALL))
    allocation = Allocation(12, {s.name: EVERY.get(s.name, {}) for s in sublayers_of(plan)}, 0.0)
    chosen = filled(plan, allocation, norm_scores(model, plan))
    masks = {e.coupling.name: e.keep for e in chosen.entries}
    return model, plan.with_kept(masks, {"sentence_ms": 12.0}, {"sentence_ms": 11.5})


def test_it_promises_what_is_built(selected: tuple[Any, Plan]) -> None:
    model, plan = selected
    found = forecast(model, plan, TABLE, seconds=600.0)
    assert found.pruned == size(shrink(model, plan)) and found.dense == size(model) and found.width == 0.75
    assert found.kept["model.encoder.layers.0.self_attn"] == {
        "heads": (2, 4),
        "qk": (3, 4),
        "vo": (2, 4),
        "sublayer": (1, 1),
    }
    assert found.kept["model.encoder.layers.1.ffn"] == {"sublayer": (0, 1)}
    assert found.times == TABLE.predict_plan(plan) and found.speedup == pytest.approx(23.0 / found.times.total)
    assert found.disk == 8 * found.dense.bytes + 2 * found.pruned.bytes
    assert json.loads(json.dumps(found.as_dict()))["kept"]["model.decoder.layers.0.ffn"]["ffn"] == [7, 20]


def test_it_prints_as_a_table(selected: tuple[Any, Plan]) -> None:
    model, plan = selected
    said = str(forecast(model, plan, TABLE, seconds=600.0, where="these 2 cores"))
    lines = said.splitlines()
    assert lines[0].split("  ")[0] == "sublayer" and lines[0].split()[1:] == [
        "heads",
        "qk",
        "a",
        "head",
        "vo",
        "a",
        "head",
        "ffn",
    ]
    assert ["model.encoder.layers.1.ffn", "removed"] in [line.split() for line in lines]
    attention = next(line for line in lines if line.startswith("model.encoder.layers.0.self_attn "))
    assert " ".join(attention.split()[1:]) == "2 of 4 3 of 4 2 of 4"
    assert "sentence_ms: asked 12, reached 11.5" in lines and "residual width: 75%" in lines
    assert "x faster, predicted" in said and lines[-1] == "about 10 minutes in all on these 2 cores, about 1 MB of disk"
    assert "about 9 hours in all, " in str(forecast(model, plan, seconds=32_400.0))
    untimed = str(forecast(model, plan))
    assert "predicted" not in untimed and untimed.splitlines()[-1] == "about 1 MB of disk"


def test_a_plan_without_selection_promises_nothing() -> None:
    model: Any = small_model("marian")
    with pytest.raises(InputError, match="select first"):
        forecast(model, make_plan(model, "marian", couplings(model, ("ffn",))))
