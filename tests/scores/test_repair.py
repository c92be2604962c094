"""Repair against least squares; never worse than masking on the calibration data; nothing cut, nothing changed."""

from typing import Any

import pytest
import torch
from torch import Tensor

from small_models import small_batch, small_model
from tprune.core.plan import Plan, make_plan
from tprune.core.selection import keep_best
from tprune.families.registry import couplings
from tprune.realise.mask import mask_, masked
from tprune.realise.shrink import shrink
from tprune.scores.calibration import augmented, grams, inputs, kept_columns
from tprune.scores.readers import layer
from tprune.scores.reconstruction import fitted, repair_, repaired
from tprune.support.errors import InputError


def problem(tokens: int = 40) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    x = torch.randn(tokens, 6, dtype=torch.float64) @ torch.randn(6, 6, dtype=torch.float64) + 1
    w, b = torch.randn(3, 6, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    keep = torch.tensor([True, False, True, True, False, True])
    one = augmented(x)
    return x, w, b, keep, one.T @ one / tokens


def plan_of(model: Any, share: float, kinds: tuple[str, ...] = ("ffn", "heads", "vo")) -> Plan:
    plan = make_plan(model, "marian", couplings(model, kinds))
    norms = {g.coupling.name: g.norms.detach() for g in plan.bind(model)}
    kept = {name: keep_best(n, max(1, round(share * n.shape[-1]))) for name, n in norms.items()}
    return plan.with_kept(kept, {}, {})


@pytest.mark.parametrize("with_bias", [True, False])
def test_it_is_the_least_squares_solution(with_bias: bool) -> None:
    x, w, b, keep, moments = problem()
    y = x @ w.T + (b if with_bias else 0)
    known = torch.cat([x[:, keep], torch.ones(len(x), 1)], dim=1) if with_bias else x[:, keep]
    expected = torch.linalg.lstsq(known, y).solution.T
    weight, bias = fitted(w, b if with_bias else None, moments, keep, damp=1e-13)
    torch.testing.assert_close(weight[:, keep], expected[:, :4])
    assert not weight[:, ~keep].any()
    if with_bias:
        assert bias is not None
        torch.testing.assert_close(bias, expected[:, 4])
    else:
        assert bias is None


def test_damping_is_ridge_regression_towards_the_old_weights() -> None:
    x, w, b, keep, moments = problem()
    n, damp = len(x), 0.3
    y = x @ w.T + b
    ridge = damp * x.square().mean(0).mean()
    # as many extra rows as kept columns ask for the old weights; none asks for the bias
    extra = torch.cat([(n * ridge).sqrt() * torch.eye(4, dtype=torch.float64), torch.zeros(4, 1)], dim=1)
    rows = torch.cat([torch.cat([x[:, keep], torch.ones(n, 1)], dim=1), extra])
    expected = torch.linalg.lstsq(rows, torch.cat([y, (n * ridge).sqrt() * w[:, keep].T])).solution.T
    weight, bias = fitted(w, b, moments, keep, damp)
    torch.testing.assert_close(weight[:, keep], expected[:, :4])
    torch.testing.assert_close(bias, expected[:, 4])


def test_outputs_to_reach_can_be_others() -> None:
    x, w, b, keep, moments = problem()
    y = torch.randn(len(x), 3, dtype=torch.float64)
    known = torch.cat([x[:, keep], torch.ones(len(x), 1)], dim=1)
    weight, bias = fitted(w, b, moments, keep, 1e-13, y.T @ augmented(x) / len(x))
    expected = torch.linalg.lstsq(known, y).solution.T
    torch.testing.assert_close(torch.cat([weight[:, keep], bias[:, None]], dim=1), expected)


def test_few_tokens_and_dead_inputs_are_no_trouble() -> None:
    x = torch.zeros(2, 6, dtype=torch.float64)
    x[0, 1] = 1.0
    w, b, keep = torch.randn(3, 6), torch.randn(3), torch.tensor([True, False, True, True, False, True])
    one = augmented(x)
    weight, bias = fitted(w, b, one.T @ one / 2, keep)
    assert weight.isfinite().all() and bias is not None and bias.isfinite().all() and weight.dtype == w.dtype


@pytest.mark.parametrize("damp", [1e-6, 1e-2, 10.0])
def test_outputs_are_never_further_off_than_masked_ones(damp: float) -> None:
    model, batch = small_model("marian"), small_batch()
    plan = plan_of(model, 0.5)
    found = grams(model, plan, [batch])
    twin = small_model("marian")
    repair_(twin, plan, found, damp)
    closer = 0
    for param, keep in kept_columns(model, plan).items():
        x = inputs(model, [param], batch)[param]
        y = layer(model, param)(x)
        plain = layer(model, param)(x * keep)
        new = layer(twin, param)(x)
        assert not layer(twin, param).weight[:, ~keep].any()
        off, before = (new - y).square().sum(), (plain - y).square().sum()
        assert off <= before
        closer += bool(off < 0.9 * before)
    assert closer >= 8 or damp > 1


@pytest.mark.parametrize("name", ["marian", "bart"])
def test_the_shrunk_model_is_the_repaired_one(name: str) -> None:
    model, batch = small_model(name), small_batch()
    plan = plan_of(model, 0.5)
    twin = small_model(name)
    repair_(twin, plan, grams(model, plan, [batch]))
    for pruned in (twin, repaired(model, plan, [batch])):
        expected = pruned(**batch).logits
        torch.testing.assert_close(shrink(pruned, plan)(**batch).logits, expected)
        assert (masked(model, plan)(**batch).logits - expected).abs().max() > 1e-3
        mask_(pruned, plan)
        assert torch.equal(pruned(**batch).logits, expected)


@pytest.mark.slow
def test_in_turn_each_output_is_as_near_as_least_squares_brings_it() -> None:
    model, batches = small_model("marian"), [small_batch(3), small_batch(2)]
    plan = plan_of(model, 0.5)
    twin: Any = repaired(model, plan, batches, damp=1e-12)
    for param, keep in kept_columns(model, plan).items():
        x, dense = (torch.cat([inputs(m, [param], b)[param] for b in batches]) for m in (twin, model))
        y = layer(model, param)(dense)
        known = torch.cat([x[:, keep], torch.ones(len(x), 1)], dim=1)
        best = known @ torch.linalg.lstsq(known, y, driver="gelsd").solution
        got = layer(twin, param)(x)
        assert (got - y).square().sum() <= (best - y).square().sum() * (1 + 1e-6) + 1e-9, param


def test_nothing_cut_nothing_changed() -> None:
    model, batch = small_model("marian"), small_batch()
    plan = plan_of(model, 1.0)
    twin: Any = small_model("marian")
    repair_(twin, plan, grams(model, plan, [batch]))
    for other in (twin, repaired(model, plan, [batch])):
        assert all(torch.equal(t, other.state_dict()[n]) for n, t in model.state_dict().items())


def test_a_removed_sublayer_stays_removed() -> None:
    model, batch = small_model("marian"), small_batch()
    plan = make_plan(model, "marian", couplings(model, ("ffn", "sublayer")))
    name = "model.decoder.layers.1.ffn"
    half = torch.arange(20) < 10
    plan = plan.with_kept(
        {c.name: torch.ones(e.groups, dtype=torch.bool) for c, e in zip(plan.couplings, plan.entries, strict=True)}
        | {f"{name}.sublayer": torch.tensor(False), name: half},
        {},
        {},
    )
    pruned: Any = repaired(model, plan, [batch])
    assert not pruned.get_submodule("model.decoder.layers.1.fc2").weight.any()
    assert not pruned.get_submodule("model.decoder.layers.1.fc2").bias.any()
    torch.testing.assert_close(shrink(pruned, plan)(**batch).logits, pruned(**batch).logits)


def test_what_does_not_fit_is_refused() -> None:
    model = small_model("marian")
    with pytest.raises(InputError, match="no Gram matrix"):
        repair_(model, plan_of(model, 0.5), {})
    with pytest.raises(InputError, match="no calibration batches"):
        repaired(model, plan_of(model, 0.5), [])
    _, w, b, keep, moments = problem()
    with pytest.raises(InputError, match="damp must be above 0"):
        fitted(w, b, moments, keep, 0.0)
    with pytest.raises(InputError, match="6 columns needs moments of 7 x 7"):
        fitted(w, b, moments[:6, :6], keep)
