"""The order of removal against brute force; its weights against least squares.

Curves that leave the model as it was.
"""

import math
import time
from typing import Any

import pytest
import torch
from torch import Tensor

from small_models import small_batch, small_model
from tprune.analysis.loss_curves import sensitivities, token_loss_on
from tprune.core.plan import make_plan
from tprune.core.selection import Limits, keep_best
from tprune.families.registry import couplings
from tprune.scores.calibration import augmented, grams
from tprune.scores.reconstruction import damping, fitted, repair_
from tprune.scores.second_order import keep_counts, removal, removal_scores, second_order_curves
from tprune.support.errors import InputError


def problem(columns: int, outputs: int = 3, tokens: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(tokens, columns, dtype=torch.float64) @ torch.randn(columns, columns, dtype=torch.float64) + 0.5
    one = augmented(x)
    w, b = torch.randn(outputs, columns, dtype=torch.float64), torch.randn(outputs, dtype=torch.float64)
    return w, b, one.T @ one / tokens


def error(w: Tensor, b: Tensor | None, moments: Tensor, keep: Tensor, damp: float) -> float:
    """Squared error of the fitted linear per token, and what damping counts."""
    weight, bias = fitted(w, b, moments, keep, damp)
    off = weight - w
    squares = damping(moments, damp) * off.square().sum()
    if b is None or bias is None:
        return float((off @ moments[:-1, :-1] @ off.T).trace() + squares)
    both = torch.cat([off, (bias - b)[:, None]], dim=1)
    return float((both @ moments @ both.T).trace() + squares)


def greedy(
    w: Tensor, b: Tensor | None, moments: Tensor, groups: Tensor, shape: tuple[int, ...], damp: float
) -> list[list[float]]:
    """The groups in the order they go, each with the error then, refitting from scratch for every candidate."""
    count, lines = math.prod(shape), shape[-1]
    gone: list[int] = []
    found: list[list[float]] = []
    for step in range(count):
        inside = [g for g in range(count) if g not in gone]
        turn = [g for g in inside if sum(o // lines == g // lines for o in gone) == step // (count // lines)]
        costs = {g: error(w, b, moments, ~torch.isin(groups, torch.tensor([*gone, g])), damp) for g in turn}
        best = min(costs, key=lambda g: costs[g])
        gone.append(best)
        found.append([best, costs[best]])
    return found


CASES = {
    "units": (8, torch.arange(8), (8,)),
    "heads": (8, torch.arange(8) // 2, (4,)),
    "groups of scattered columns": (9, torch.arange(9) % 3, (3,)),
    "dimensions in heads": (9, torch.arange(9), (3, 3)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("damp", [1e-6, 0.1])
def test_the_order_is_that_of_greedy_brute_force(case: str, with_bias: bool, damp: float) -> None:
    columns, groups, shape = CASES[case]
    w, bias, moments = problem(columns)
    b = bias if with_bias else None
    found, expected = removal(w, b, moments, groups, shape, damp=damp), greedy(w, b, moments, groups, shape, damp)
    assert torch.argsort(found.scores.flatten()).tolist() == [g for g, _ in expected]
    rows = math.prod(shape) // shape[-1]
    errors = [0.0, *(e for _, e in expected)][::-rows]
    assert found.errors == pytest.approx(errors, rel=1e-6, abs=1e-9) and len(found.errors) == shape[-1] + 1


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_weights_after_removals_are_the_fitted_ones(case: str, with_bias: bool) -> None:
    columns, groups, shape = CASES[case]
    w, bias, moments = problem(columns)
    b = bias if with_bias else None
    sizes = range(shape[-1] + 1)
    found = removal(w, b, moments, groups, shape, sizes, damp=0.01)
    assert sorted(found.weights) == list(sizes)
    for k, (weight, moved) in found.weights.items():
        keep = keep_best(found.scores, k).flatten()[groups]
        expected, shift = fitted(w, b, moments, keep, 0.01)
        torch.testing.assert_close(weight, expected)
        assert not weight[:, ~keep].any()
        if shift is None:
            assert moved is None
        else:
            torch.testing.assert_close(moved, shift)
    assert torch.equal(found.weights[shape[-1]][0], w)


def test_a_copied_column_goes_first_and_costs_nothing() -> None:
    w, b, _ = problem(6)
    x = torch.randn(50, 6, dtype=torch.float64)
    x[:, 4] = 2 * x[:, 1] + 3
    one = augmented(x)
    w[:, [1, 4]] = 10.0  # the largest by magnitude
    found = removal(w, b, one.T @ one / 50, torch.arange(6), (6,), (5,), damp=1e-9)
    first = int(found.scores.argmin())
    assert first in (1, 4) and found.errors[5] < 1e-5
    weight, bias = found.weights[5]
    torch.testing.assert_close(x @ weight.T + bias, x @ w.T + b, atol=1e-4, rtol=1e-4)


def test_a_thousand_units_take_seconds() -> None:
    x = augmented(torch.randn(2000, 1024).relu())
    start = time.process_time()
    found = removal(torch.randn(256, 1024), torch.randn(256), x.T @ x / 2000, torch.arange(1024), (1024,))
    assert time.process_time() - start < 5  # 0.4 on an idle core
    assert sorted(found.scores.tolist()) == list(range(1024)) and list(found.errors) == sorted(
        found.errors, reverse=True
    )


def test_what_does_not_fit_is_refused() -> None:
    w, b, moments = problem(5)
    with pytest.raises(InputError, match="equally many columns"):
        removal(w, b, moments, torch.arange(5) // 2, (3,))
    with pytest.raises(InputError, match="there are 0 to 5"):
        removal(w, b, moments, torch.arange(5), (5,), (6,))


def test_curves_are_the_losses_of_repaired_models() -> None:
    model: Any = small_model("marian")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plan = make_plan(model, "marian", couplings(model, ("ffn", "heads", "qk", "vo")))
    batches, loss = [small_batch()], token_loss_on([small_batch(2)])
    limits = Limits(floor=0.0)
    curves, scores = second_order_curves(model, plan, batches, loss, limits, shares=(0.5,))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    found, whole = grams(model, plan, batches), loss(model)
    plain = {c.name: c for c in sensitivities(model, plan, loss, limits, shares=(0.5,))}
    assert all(torch.equal(scores[name], s) for name, s in removal_scores(model, plan, found).items())
    for curve in curves:
        assert curve.kept == plain[curve.name].kept
        if curve.name.endswith(".qk"):
            assert curve == plain[curve.name]
            continue
        twin = small_model("marian")
        keep = keep_best(scores[curve.name], curve.kept[0])
        repair_(twin, plan.with_kept({curve.name: keep}, {}, {}), found)
        assert curve.losses[0] == pytest.approx(max(0.0, loss(twin) - whole), abs=1e-8)


def test_a_coupling_read_by_several_linears_is_ranked_by_norm() -> None:
    model: Any = small_model("marian")
    plan = make_plan(model, "marian", couplings(model, ("width",)))
    scores = removal_scores(model, plan, grams(model, plan, [small_batch()]))
    torch.testing.assert_close(scores["width"], plan.bind(model)[0].norms.detach().float())


def test_counts_are_the_goals() -> None:
    model: Any = small_model("marian")
    plan = make_plan(model, "marian", couplings(model, ("ffn", "vo")))
    with pytest.raises(InputError, match="select first"):
        keep_counts(plan, {})
    norms = {g.coupling.name: g.norms.detach() for g in plan.bind(model)}
    goal = plan.with_kept({name: keep_best(n, 3) for name, n in norms.items()}, {"macs": 2.0}, {"macs": 1.0})
    chosen = keep_counts(goal, {name: -n for name, n in norms.items()})
    assert [len(e.kept or ()) for e in chosen.entries] == [len(e.kept or ()) for e in goal.entries]
    assert all(torch.equal(e.keep, keep_best(-norms[e.coupling.name], 3)) for e in chosen.entries)
    assert chosen.asked == goal.asked and chosen.reached == goal.reached
