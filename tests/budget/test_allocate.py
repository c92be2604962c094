"""One budget over all kinds: against brute force, certified, and never without a reader of the source."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from small_models import small_batch, small_model
from tprune.analysis.loss_curves import sensitivities, token_loss_on
from tprune.budget.allocate import Allocation, CostModel, allocate, filled, options_of, select_by_loss, untouched
from tprune.budget.size import Budget, select_size, select_to, size_cost_models
from tprune.core.curves import Curve
from tprune.core.plan import Plan, make_plan
from tprune.core.selection import Limits, Uniform
from tprune.core.sublayers import sublayers_of
from tprune.costs.size import PlanSizes, norm_scores, size_after
from tprune.counting.size import size
from tprune.families.registry import couplings
from tprune.realise.certificate import certify
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError, UnreachableError

ALL = ("ffn", "heads", "qk", "vo", "sublayer", "width")
Prices = Callable[[str, str, float], float]  # of a coupling's name and kind, at a share


@pytest.fixture(scope="module")
def model() -> Any:
    return small_model("marian")


def plan_of(model: Any, *kinds: str) -> Plan:
    return make_plan(model, "marian", couplings(model, kinds))


def curves_of(plan: Plan, price: Prices, sizes: int = 3) -> tuple[Curve, ...]:
    """Curves by a formula: whole, and `sizes - 1` smaller ones; sublayers may go."""
    found = []
    for entry in plan.entries:
        c, lines = entry.coupling, entry.groups[-1] if entry.groups else 1
        kept = (
            (0, 1)
            if c.kind == "sublayer"
            else tuple(sorted({max(1, round(lines * i / sizes)) for i in range(1, sizes + 1)}))
        )
        found.append(Curve(c.name, kept, tuple(price(c.name, c.kind, k / lines) if k < lines else 0.0 for k in kept)))
    return tuple(found)


def odd(name: str, kind: str, share: float) -> float:
    """Losses that look arbitrary but fall with the share."""
    return (1 + sum(map(ord, name)) % 7) * (1 - share) ** 2 + (0.3 if kind == "sublayer" else 0.0)


@pytest.mark.parametrize("fraction", [0.8, 0.6])
def test_the_choice_is_the_best_of_all_combinations(model: Any, fraction: float) -> None:
    names = {"model.encoder.layers.0.self_attn", "model.encoder.layers.1.ffn"}
    some = [c for c in couplings(model, ALL) if c.kind == "width" or any(c.name.startswith(n) for n in names)]
    plan = make_plan(model, "marian", some)
    curves = curves_of(plan, odd)
    by_name = {c.name: c for c in curves}
    cost_models, budget = (
        size_cost_models(PlanSizes(model, plan), "macs", Budget("macs", 1.0).of),
        fraction * size(model).macs,
    )
    found = allocate(plan, curves, cost_models, budget)
    sublayers, best = sublayers_of(plan), float("inf")
    every = [list(options_of(s, by_name)) for s in sublayers]
    for width, price in zip(by_name["width"].kept, by_name["width"].losses, strict=True):
        cost_model = cost_models(width)
        costs = [[cost_model.cost(s, left) for left in possible] for s, possible in zip(sublayers, every, strict=True)]
        losses = [
            [sum(by_name[s.couplings[k]].loss_at(n) for k, n in left.items()) for left in possible]
            for s, possible in zip(sublayers, every, strict=True)
        ]
        for combination in itertools.product(*(range(len(possible)) for possible in every)):
            if cost_model.whole + sum(c[i] for c, i in zip(costs, combination, strict=True)) <= budget:
                best = min(best, price + sum(x[i] for x, i in zip(losses, combination, strict=True)))
    assert found.loss == pytest.approx(best)


EVERY: dict[str, dict[str, int]] = {
    "model.encoder.layers.0.self_attn": {"heads": 2, "qk": 3, "vo": 2},
    "model.encoder.layers.1.self_attn": {"heads": 0},
    "model.encoder.layers.1.ffn": {"sublayer": 0},
    "model.decoder.layers.0.self_attn": {"sublayer": 0},
    "model.decoder.layers.1.encoder_attn": {"sublayer": 0},
    "model.decoder.layers.2.encoder_attn": {"heads": 1, "qk": 5},
    "model.decoder.layers.0.ffn": {"ffn": 7},
    "model.decoder.layers.2.ffn": {"ffn": 0},
}


def test_a_plan_of_all_kinds_at_once_is_certified_and_reads_back(model: Any) -> None:
    plan = plan_of(model, *ALL)
    left = {s.name: EVERY.get(s.name, {}) for s in sublayers_of(plan)}
    chosen = filled(plan, Allocation(11, left, 0.0), norm_scores(model, plan))
    assert {e.coupling.kind for e in chosen.entries if not e.keep.all()} == set(ALL)
    assert Plan.from_json(chosen.to_json()) == chosen
    small = shrink(model, chosen)
    found = certify(model, chosen, small, small_batch())
    assert found.forward < 1e-9 and found.generation < 1e-9 and size(small) == size_after(model, chosen)


@pytest.mark.slow
@pytest.mark.parametrize(("unit", "fraction"), [("macs", 0.7), pytest.param("bytes", 0.45, marks=pytest.mark.slow)])
def test_the_budget_is_kept_by_what_is_built(model: Any, unit: str, fraction: float) -> None:
    plan, target = plan_of(model, *ALL), Budget(unit, fraction)
    chosen = select_size(model, plan, target, curves_of(plan, odd))
    small = shrink(model, chosen)
    assert target.of(size(small)) == chosen.reached[unit] <= chosen.asked[unit] == fraction * target.of(size(model))
    assert certify(model, chosen, small, small_batch()).forward < 1e-9


def test_heads_and_their_dimensions_are_cut_together(model: Any) -> None:
    def price(name: str, kind: str, share: float) -> float:
        return (1 - share) ** 2 * (4.0 if kind == "heads" else 1.0)

    plan = plan_of(model, "heads", "qk", "vo")
    chosen = select_size(model, plan, Budget("params", 0.75), curves_of(plan, price, 4))
    assert {e.coupling.kind for e in chosen.entries if not e.keep.all()} == {"heads", "qk", "vo"}
    assert certify(model, chosen, shrink(model, chosen), small_batch()).generation < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["macs", "params"])
def test_costs_of_combinations_are_those_of_built_models(model: Any, unit: str) -> None:
    plan = plan_of(model, *ALL)
    cost_models, read, scores = (
        size_cost_models(PlanSizes(model, plan), unit, Budget(unit, 1.0).of),
        Budget(unit, 1.0).of,
        norm_scores(model, plan),
    )
    whole = {s.name: {k: n for k, n in s.whole.items() if k != "sublayer"} for s in sublayers_of(plan)}
    for width, sublayers in ((16, sublayers_of(plan)[::3]), (11, sublayers_of(plan)[1::4])):
        cost_model = cost_models(width)
        for s in sublayers:
            for left in (
                {"sublayer": 0},
                {"ffn": 3} if "ffn" in s.whole else {"heads": 1, "qk": 2, "vo": 3},
                {"ffn": 0} if "ffn" in s.whole else {"heads": 0},
            ):
                built = filled(plan, Allocation(width, {**whole, s.name: left}, 0.0), scores)
                assert cost_model.whole + cost_model.cost(s, left) == pytest.approx(
                    read(size_after(model, built)), rel=1e-12
                )


def free(name: str, kind: str, share: float) -> float:
    """Cross attention costs next to nothing, so that all of it wants to go."""
    return (1 - share) * (0.01 if "encoder_attn" in name else 5.0) * (1.5 if "layers.1" in name else 1.0)


def reading(plan: Plan) -> list[str]:
    cut: dict[str, bool] = {}
    for e in plan.entries:
        if "encoder_attn" in e.coupling.name and e.coupling.kind in ("heads", "sublayer"):
            name = e.coupling.name.rpartition(".")[0]
            cut[name] = cut.get(name, False) or not e.keep.any()
    return [name for name, gone in cut.items() if not gone]


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [("ffn", "heads", "sublayer"), ("heads",), ("sublayer",)])
def test_the_decoder_goes_on_reading_its_source(model: Any, kinds: tuple[str, ...]) -> None:
    plan = plan_of(model, *kinds)
    curves = tuple(
        Curve(c.name, (0, *c.kept), (c.losses[0], *c.losses)) if c.kept[0] else c for c in curves_of(plan, free)
    )  # floor 0: nothing may be left
    for fraction in (0.93, 0.8):
        chosen = select_size(model, plan, Budget("params", fraction), curves)
        assert reading(chosen)
        assert certify(model, chosen, shrink(model, chosen), small_batch()).forward < 1e-9
    least = select_by_loss(
        model,
        plan,
        curves,
        size_cost_models(PlanSizes(model, plan), "params", lambda s: s.parameters),
        1.0 * size(model).parameters,
        lambda p: 0.0,
        norm_scores(model, plan),
    )
    assert reading(least)


def test_the_reader_that_stays_is_the_one_with_most_to_lose(model: Any) -> None:
    plan = plan_of(model, "sublayer")
    cost_model = CostModel("u", 100.0, lambda s, kind, share: 1.0 if s.place == "decoder.encoder_attn" else 0.0)
    curves = curves_of(plan, free)
    found = allocate(plan, curves, lambda width: cost_model, 98.0)
    assert found.counts["model.decoder.layers.1.encoder_attn"] == {}
    assert {n for n, left in found.counts.items() if "encoder_attn" in n and left == {"sublayer": 0}} == {
        "model.decoder.layers.0.encoder_attn",
        "model.decoder.layers.2.encoder_attn",
    }
    with pytest.raises(UnreachableError, match=r"can reach 98, 98%"):  # 97 would drop the source
        allocate(plan, curves, lambda width: cost_model, 97.5)


def test_shares_alike_do_not_blind_the_decoder_either(model: Any) -> None:
    plan = plan_of(model, "sublayer", "ffn")
    chosen = select_to(model, plan, Budget("params", 0.6), Uniform(Limits(floor=0.0)))
    assert reading(chosen) == ["model.decoder.layers.2.encoder_attn"]
    assert size(shrink(model, chosen)).parameters == chosen.reached["params"] <= chosen.asked["params"]


def test_what_nobody_can_reach_says_what_can_be_and_what_binds(model: Any) -> None:
    plan = plan_of(model, "ffn", "sublayer")
    curves = curves_of(plan, odd)
    cost_models = size_cost_models(PlanSizes(model, plan), "params", lambda s: s.parameters)
    everything = {s.name: {"sublayer": 0} for s in sublayers_of(plan) if "ffn" in s.couplings}
    smallest = {s.name: {"sublayer": 0} for s in sublayers_of(plan)} | {"model.decoder.layers.2.encoder_attn": {}}
    outside = untouched(cost_models(None), sublayers_of(plan))
    assert (
        everything
        and outside
        == size_after(
            model,
            filled(
                plan,
                Allocation(None, {s.name: {"sublayer": 0} for s in sublayers_of(plan)}, 0.0),
                norm_scores(model, plan),
            ),
        ).parameters
    )
    least = size_after(model, filled(plan, Allocation(None, smallest, 0.0), norm_scores(model, plan))).parameters
    with pytest.raises(
        UnreachableError,
        match=rf"asked for 1,024 params, .* can reach {least:,.4g}, .* {outside:,.4g} lie outside what they cut",
    ):
        select_size(model, plan, Budget("params", 1024.0), curves)


def test_couplings_without_curves_or_sublayers_are_refused(model: Any) -> None:
    plan = plan_of(model, "ffn")
    with pytest.raises(InputError, match="the loss that it adds was not measured"):
        select_size(model, plan, Budget("params", 0.9), curves_of(plan, odd)[1:])
    lines = plan_of(model, "lines")
    with pytest.raises(InputError, match="couplings of kind 'lines' cannot share a budget"):
        select_size(model, lines, Budget("params", 0.9), curves_of(lines, odd))
    lost = replace(plan, entries=tuple(replace(e, coupling=replace(e.coupling, site=None)) for e in plan.entries))
    with pytest.raises(InputError, match=r"layers\.0\.ffn: the coupling has no site \(stack, layer and block, such as"):
        select_size(model, lost, Budget("params", 0.9), curves_of(lost, odd))
    first, second = plan.entries[:2]
    twice = replace(plan, entries=(first, replace(second, coupling=replace(second.coupling, site=first.coupling.site))))
    with pytest.raises(InputError, match=r"is of kind 'ffn' at the same site; expected one of each"):
        sublayers_of(twice)


def test_a_sum_that_was_too_low_is_tightened(model: Any) -> None:
    plan = plan_of(model, "ffn")
    curves = curves_of(plan, odd, 12)
    cost_models = size_cost_models(PlanSizes(model, plan), "params", lambda s: s.parameters)
    budget = 0.85 * size(model).parameters

    def more(chosen: Plan) -> float:
        return 1.02 * size_after(model, chosen).parameters

    chosen = select_by_loss(model, plan, curves, cost_models, budget, more, norm_scores(model, plan))
    assert 0.95 * budget < chosen.reached["params"] == more(chosen) <= budget
    with pytest.raises(UnreachableError, match="the nearest selection takes"):
        select_by_loss(model, plan, curves, cost_models, budget, lambda p: budget + 1e-3, norm_scores(model, plan))


@pytest.mark.slow
def test_measured_losses_share_a_size(model: Any) -> None:
    plan = make_plan(model, "marian", [c for c in couplings(model, ALL) if "decoder" not in c.name])
    loss = token_loss_on([small_batch()])
    curves = sensitivities(model, plan, loss, Limits(floor=0.1))
    kept = {c.name: c.kept for c in curves}
    assert kept["width"] == (8, 10, 12, 14, 16) and kept["model.encoder.layers.0.self_attn.sublayer"] == (0, 1)
    assert kept["model.encoder.layers.0.self_attn.qk"] == (1, 2, 3, 4)
    chosen = select_size(model, plan, Budget("macs", 0.7), curves)
    assert torch.isfinite(torch.tensor(loss(shrink(model, chosen)))) and chosen.reached["macs"] <= chosen.asked["macs"]


@pytest.mark.parametrize("share", [pytest.param(0.9, marks=pytest.mark.slow), 0.8])
def test_even_kinds_keep_equally_many_in_a_stack_at_the_least_loss(model: Any, share: float) -> None:
    plan, budget = plan_of(model, "ffn", "heads"), Budget("params", share)
    curves = curves_of(plan, lambda name, kind, kept: (1 - kept) * (1 + len(name) % 7))
    by_name = {curve.name: curve for curve in curves}
    cost_models, limit = size_cost_models(PlanSizes(model, plan), "params", budget.of), budget.limit(size(model))
    found = allocate(plan, curves, cost_models, limit, even=("heads",))
    sublayers = sublayers_of(plan)
    options = [list(options_of(s, by_name)) for s in sublayers]

    def even(counts: Any) -> bool:
        heads = {(s.site.stack, each["heads"]) for s, each in zip(sublayers, counts, strict=True) if "heads" in each}
        return len(heads) == 2

    def cost(counts: Any) -> float:
        model_of = cost_models(None)
        return model_of.whole + sum(model_of.cost(s, each) for s, each in zip(sublayers, counts, strict=True))

    def loss(counts: Any) -> float:
        pairs = zip(sublayers, counts, strict=True)
        return sum(by_name[s.couplings[kind]].loss_at(k) for s, each in pairs for kind, k in each.items())

    chosen = [found.counts[s.name] for s in sublayers]
    assert even(chosen) and cost(chosen) <= limit
    fitting = (each for each in itertools.product(*options) if even(each) and cost(each) <= limit)
    assert loss(chosen) == pytest.approx(min(map(loss, fitting)), rel=1e-3)
    assert allocate(plan, curves, cost_models, limit).loss < found.loss  # so that it says something
