"""A budget in milliseconds: kept, spent where the loss is least, refused where nobody can reach it."""

from typing import Any

import numpy as np
import pytest

from sentence_times import sentence_times
from small_models import small_batch, small_model
from tprune.analysis.loss_curves import sensitivities, token_loss_on
from tprune.budget.latency import confirm, select_memory, select_within
from tprune.core.curves import Curve
from tprune.core.plan import Plan, make_plan
from tprune.core.precision import Precision
from tprune.core.selection import Limits
from tprune.core.sublayers import width_of
from tprune.costs.latency.phases import Times
from tprune.costs.latency.table import LatencyTable, Price, TimingConfig, kept_fractions
from tprune.counting.size import size
from tprune.families.registry import couplings
from tprune.realise.certificate import certify
from tprune.realise.shrink import shrink
from tprune.runtimes.held import InMemory
from tprune.support.errors import InputError, UnreachableError

PLACES = ("encoder.self_attn", "encoder.ffn", "decoder.self_attn", "decoder.encoder_attn", "decoder.ffn")


def price(place: str, kind: str, of: float = 1.0) -> Price:
    encoder, token = (0.2, 0.0) if place.startswith("encoder") else (0.02, 0.05)
    return Price(place, kind, (of * encoder, of * token))


PRICES = (
    *(price(p, "ffn" if p.endswith("ffn") else "heads") for p in PLACES),
    *(price(p, "sublayer", 0.3) for p in PLACES),
    *(price(p, kind, 0.5) for p in PLACES if p.endswith("attn") for kind in ("qk", "vo")),
    Price("model", "width", (1.6, 0.6)),
)
TABLE = LatencyTable("0" * 16, TimingConfig(), sentence_times(2.0, 1.05, 23.0), 20.0, (), {}, 60_000_000, PRICES)
ALL = ("ffn", "heads", "qk", "vo", "sublayer", "width")


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
    predicted = TABLE.predict(kept_fractions(chosen), 1.0).total
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
        match=r"asked for 5 sentence_ms, 21.7% of the dense 23; "
        r"these couplings can reach 1\d\.\d+, .* \d+\.\d+ lie outside",
    ):
        select_within(model, plan, TABLE, curves, 5.0)
    with pytest.raises(InputError, match="the loss that it adds was not measured"):
        select_within(model, plan, TABLE, curves[1:], 20.0)


def by_share(plan: Plan) -> tuple[Curve, ...]:
    """Curves whose losses grow with the square of what is cut."""
    found = []
    for e in plan.entries:
        lines = e.groups[-1] if e.groups else 1
        kept = (0, 1) if not e.groups else tuple(sorted({max(1, lines * i // 4) for i in range(1, 5)}))
        found.append(
            Curve(e.coupling.name, kept, tuple((1 - k / lines) ** 2 * (1 + len(e.coupling.name) % 3) for k in kept))
        )
    return tuple(found)


def test_a_time_is_kept_with_all_kinds_and_the_width(problem: tuple[Any, Plan, tuple[Curve, ...]]) -> None:
    model = problem[0]
    plan = make_plan(model, "marian", couplings(model, ALL))
    for milliseconds in (18.0, 12.0):
        chosen = select_within(model, plan, TABLE, by_share(plan), milliseconds)
        predicted = TABLE.predict_plan(chosen).total
        assert chosen.reached == {"sentence_ms": predicted} and 0.8 * milliseconds < predicted <= milliseconds + 1e-9
    assert width_of(chosen) < 1 and certify(model, chosen, shrink(model, chosen), small_batch()).forward < 1e-9


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.3])
def test_a_confirmed_plan_takes_the_time_asked_for(problem: tuple[Any, Plan, tuple[Curve, ...]], factor: float) -> None:
    """On a machine where only a part of the savings adds up, or more than that."""
    model, plan, curves = problem[0], problem[1], by_share(problem[1])
    timed: list[Plan] = []

    def time(chosen: Plan) -> Times:
        timed.append(chosen)
        dense = np.array([2.0, 1.05])
        added = TABLE.additive_ms(kept_fractions(chosen), width_of(chosen))
        encoder, token = dense - np.array([factor, factor**1.5]) * (dense - added)
        return sentence_times(
            float(encoder), float(token), TABLE.phases.total((float(encoder), float(token)), TABLE.tokens)
        )

    found = confirm(lambda table: select_within(model, plan, table, curves, 20.5), TABLE, time)
    assert found.tried == len(timed) == (1 if factor == 1 else 2) and found.plan == timed[-1]
    assert abs(found.off) < 0.05 and found.plan.asked == {"sentence_ms": 20.5}
    assert found.table.predict_plan(found.plan).total == pytest.approx(found.measured.total)


def test_a_plan_is_timed_so_often_and_no_more(problem: tuple[Any, Plan, tuple[Curve, ...]]) -> None:
    model, plan, curves = problem[0], problem[1], by_share(problem[1])
    times, said = iter([21.9, 18.0, 21.7, 18.5, 1.0]), list[str]()

    def restless(chosen: Plan) -> Times:
        sentence = next(times)
        return sentence_times(1.9, (sentence - 1.9) / 20, sentence)

    found = confirm(lambda table: select_within(model, plan, table, curves, 20.5), TABLE, restless, report=said.append)
    assert len(said) == 4 and said[0].startswith("plan 1: predicted 20") and said[0].endswith("timed 21.9")
    assert found.tried == 4 and found.measured.total == 18.5 and found.off == pytest.approx(18.5 / 20.5 - 1)

    def slow(chosen: Plan) -> Times:
        return sentence_times(2.0, 1.05, 23.0)

    with pytest.raises(UnreachableError, match="can reach"):
        confirm(lambda table: select_within(model, plan, table, curves, 19.0), TABLE, slow)


def test_memory_is_the_process_less_the_weights_that_go(problem: tuple[Any, Plan, tuple[Curve, ...]]) -> None:
    model, plan = problem[0], problem[1]
    peak, dense = 100_000.0, size(model).parameters
    chosen = select_memory(model, plan, peak, by_share(plan), 0.09)
    left = (peak - 4 * (dense - size(shrink(model, chosen)).parameters)) / 1e6
    assert chosen.asked == {"memory_mb": 0.09} and chosen.reached == {"memory_mb": pytest.approx(left)}
    assert 0.08 < left <= 0.09
    with pytest.raises(UnreachableError, match=r"asked for 0.01 memory_mb, 10% of the dense 0.1; .* lie outside"):
        select_memory(model, plan, peak, by_share(plan), 0.01)


@pytest.mark.parametrize("kept", [(), ("model.decoder.layers.0.fc1.weight",)])
def test_memory_in_int8_counts_the_bytes_of_int8(
    problem: tuple[Any, Plan, tuple[Curve, ...]], kept: tuple[str, ...]
) -> None:
    model, plan, weigh = problem[0], problem[1], InMemory("onnxruntime", Precision("int8", kept))
    peak, dense = 40_000.0, weigh(problem[0])
    chosen = select_memory(model, plan, peak, by_share(plan), 0.036, weigh=weigh)
    left = (peak - (dense - weigh(shrink(model, chosen)))) / 1e6
    assert chosen.reached == {"memory_mb": pytest.approx(left)} and 0.034 < left <= 0.036
    whole = select_memory(model, plan, peak, by_share(plan), 0.036)
    assert size(shrink(model, whole)).parameters > size(shrink(model, chosen)).parameters  # which took 4 bytes a number
