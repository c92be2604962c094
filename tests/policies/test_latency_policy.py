"""A budget in milliseconds: kept, spent where the loss is least, refused where nobody can reach it."""

from typing import Any

import pytest

from small_models import small_batch, small_model
from tprune.errors import InputError, UnreachableError
from tprune.latency import LatencyTable, Point, Setting, Times, shares_of
from tprune.models import couplings
from tprune.plan import Plan, make_plan
from tprune.policies.latency import select_within
from tprune.select import Limits
from tprune.sensitivity import Curve, sensitivities, token_loss_on

PLACES = ("encoder.self_attn", "encoder.ffn", "decoder.self_attn", "decoder.encoder_attn", "decoder.ffn")
POINTS = tuple(
    Point(place, share, (0.2 if place.startswith("encoder") else 0.02) * (1 - share), 0.0 if place.startswith("encoder") else 0.05 * (1 - share))
    for place in PLACES
    for share in (0.0, 0.5)
)  # fmt: skip
TABLE = LatencyTable("0" * 16, Setting(), Times(2.0, 1.0, 23.0), 20.0, 0.05, POINTS, {})


@pytest.fixture(scope="module")
def problem() -> tuple[Any, Plan, tuple[Curve, ...]]:
    model: Any = small_model("marian")
    plan = make_plan(model, "marian", couplings(model, ("ffn", "heads")))
    return model, plan, sensitivities(model, plan, token_loss_on([small_batch()]), Limits(floor=0.1))


@pytest.mark.parametrize("milliseconds", [22.0, 20.0, 18.0])
def test_the_time_asked_for_is_kept_and_used(problem: tuple[Any, Plan, tuple[Curve, ...]], milliseconds: float) -> None:
    model, plan, curves = problem
    curves = tuple(Curve(c.name, c.kept, tuple(1 - k / c.kept[-1] for k in c.kept)) for c in curves)
    chosen = select_within(model, plan, TABLE, curves, milliseconds)
    predicted = TABLE.predict(shares_of(chosen)).sentence
    assert (
        chosen.selected
        and chosen.asked == {"sentence_ms": milliseconds}
        and chosen.reached == {"sentence_ms": predicted}
    )
    assert milliseconds - 0.6 < predicted <= milliseconds + 1e-9
    norms = {g.coupling.name: g.norms.detach() for g in plan.bind(model)}
    for entry in chosen.entries:  # the largest stay
        kept = norms[entry.coupling.name][entry.keep]
        assert entry.keep.all() or kept.min() >= norms[entry.coupling.name][~entry.keep].max()


def test_what_costs_no_loss_goes_first(problem: tuple[Any, Plan, tuple[Curve, ...]]) -> None:
    model, plan, curves = problem
    free = "model.decoder.layers.1.ffn"
    curves = tuple(
        Curve(c.name, c.kept, tuple(0.0 if c.name == free or k == c.kept[-1] else 1.0 for k in c.kept)) for c in curves
    )
    kept = {
        e.coupling.name: len(e.kept or ()) / len(e.keep)
        for e in select_within(model, plan, TABLE, curves, 22.5).entries
    }
    assert kept[free] < 1 and all(share == 1 for name, share in kept.items() if name != free)


def test_what_nobody_can_reach_says_what_can_be(problem: tuple[Any, Plan, tuple[Curve, ...]]) -> None:
    model, plan, curves = problem
    with pytest.raises(
        UnreachableError,
        match=r"asked for 5 ms a sentence, 4\.60x faster than the dense 23 ms; these couplings can reach 1",
    ):
        select_within(model, plan, TABLE, curves, 5.0)
    wide = make_plan(model, "marian", couplings(model, ("width",)))
    with pytest.raises(InputError, match="ffn and heads only"):
        select_within(model, wide, TABLE, curves, 20.0)
    with pytest.raises(InputError, match="its sensitivity was not measured"):
        select_within(model, plan, TABLE, curves[1:], 20.0)
