"""The regulariser in plain loops against references written by hand, and under mixed precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from small_net import (
    HOW,
    Net,
    Pairs,
    assert_same,
    hoyer,
    lasso,
    penalty_gradients,
    plan_of,
    reference_loop,
    state,
    unit_norms,
)
from tprune.core.coupling import Coupling, Groups, producer
from tprune.core.method import Method, State, Update
from tprune.core.plan import Mode, make_plan
from tprune.methods.group_lasso import GroupLasso
from tprune.methods.hoyer_square import HoyerSquare, PacedHoyerSquare
from tprune.methods.regulariser import Regulariser
from tprune.support.errors import InputError


@pytest.mark.parametrize(("method", "penalty"), [(HoyerSquare(), hoyer), (GroupLasso(), lasso)])
def test_gradient_mode_adds_the_penaltys_gradient_to_weights_only(method: Method, penalty: Any) -> None:
    model = Net()
    regulariser = Regulariser(model, plan_of(model, Mode.GRADIENT, 0.3, method))
    for name, p in model.named_parameters():
        p.grad = torch.zeros_like(p) if name != "down.weight" else None
    regulariser.before_step()
    expected = penalty_gradients(model, penalty)
    torch.testing.assert_close(model.up.weight.grad, 0.3 * expected["up.weight"])
    assert model.down.weight.grad is None  # nothing flowed here, so there is nothing to add to
    assert model.up.bias.grad is not None and not model.up.bias.grad.any()
    torch.testing.assert_close(regulariser.values["ffn"], penalty(dict(model.named_parameters())).detach())


def test_own_loop_with_accumulation_and_clipping_matches_the_reference() -> None:
    data, expected, model = Pairs(60), Net(), Net()
    reference_loop(expected, data, **HOW)
    optimizer = torch.optim.AdamW(model.parameters(), lr=HOW["lr"], weight_decay=0.0)
    regulariser = Regulariser(model, plan_of(model, Mode.GRADIENT, HOW["strength"]), ramp=HOW["ramp"])
    handles = regulariser.attach(optimizer)
    for step in range(5):
        optimizer.zero_grad()
        for i in range(3):
            (model(**data.batch((step * 3 + i) * 4, 4))["loss"] / 3).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), HOW["clip"])
        optimizer.step()
    assert regulariser.step == 5
    assert_same(state(model), state(expected))
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert regulariser.step == 5


@pytest.mark.parametrize("mode", [Mode.DECOUPLED, Mode.PROXIMAL])
@pytest.mark.parametrize("strength", [0.1, 3.0])
def test_decoupled_and_proximal_follow_their_formulas_after_the_step(mode: Mode, strength: float) -> None:
    model, twin = Net(), Net()
    data, lr = Pairs(4), 0.1
    plain = torch.optim.SGD(twin.parameters(), lr=lr)
    twin(**data.batch(0, 4))["loss"].backward()
    plain.step()
    after = {name: p.detach() for name, p in twin.named_parameters()}
    n = unit_norms(after)
    slope = torch.full_like(n, 5**0.5)
    left = n - lr * strength * slope
    factor = (left if mode is Mode.DECOUPLED else left.clamp_min(0)) / n

    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    Regulariser(model, plan_of(model, mode, strength, GroupLasso())).attach(optimizer)
    model(**data.batch(0, 4))["loss"].backward()
    optimizer.step()
    found = state(model)
    torch.testing.assert_close(found["up.weight"], after["up.weight"] * factor[:, None])
    torch.testing.assert_close(found["down.weight"], after["down.weight"] * factor)
    alive = torch.ones_like(n) if mode is Mode.DECOUPLED else (factor > 0).float()
    assert torch.equal(found["up.bias"], after["up.bias"] * alive)
    assert torch.equal(found["down.bias"], after["down.bias"])
    if strength == 3.0 and mode is Mode.PROXIMAL:
        assert (factor == 0).any()


@pytest.mark.parametrize("method", [GroupLasso(), PacedHoyerSquare()], ids=lambda m: type(m).__name__)
def test_proximal_reaches_exact_zeros_in_weights_and_biases(method: Method) -> None:
    model, data = Net(units=12), Pairs(64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    regulariser = Regulariser(model, plan_of(model, Mode.PROXIMAL, 0.5, method))
    regulariser.attach(optimizer)
    for _ in range(150):
        optimizer.zero_grad()
        model(**data.batch(0, 64))["loss"].backward()
        optimizer.step()
    norms = regulariser.groups[0].refresh().norms
    empty = norms == 0
    assert int(empty.sum()) > 0 and (method == GroupLasso() or not empty.all())
    assert (
        (model.up.weight[empty] == 0).all()
        and (model.up.bias[empty] == 0).all()
        and (model.down.weight[:, empty] == 0).all()
    )
    if not empty.all():
        assert (model.up.bias[~empty] != 0).all()


def test_a_group_that_is_already_empty_loses_its_bias() -> None:
    model = Net()
    with torch.no_grad():
        model.up.weight[0], model.down.weight[:, 0], model.up.bias[0] = 0.0, 0.0, 3.0
    Regulariser(model, plan_of(model, Mode.PROXIMAL, 0.1)).after_step(torch.optim.SGD(model.parameters(), lr=0.1))
    assert model.up.bias[0] == 0 and (model.up.bias[1:] != 0).all()


def test_pace_ramps_up_and_stays() -> None:
    model = Net()
    regulariser = Regulariser(model, plan_of(model, Mode.GRADIENT, 1.0), ramp=4)
    seen = []
    for regulariser.step in range(6):
        seen.append(regulariser.pace)
    assert seen == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert Regulariser(model, plan_of(model, Mode.GRADIENT, 1.0)).pace == 1.0


def test_strength_zero_touches_nothing() -> None:
    model = Net()
    before = state(model)
    regulariser = Regulariser(model, plan_of(model, Mode.PROXIMAL, 0.0))
    regulariser.after_step(torch.optim.SGD(model.parameters(), lr=1.0))
    assert_same(state(model), before, rtol=0, atol=0)
    assert regulariser.step == 1 and not regulariser.values


@dataclass(frozen=True)
class Counting:
    """A method with state: its slope grows with the steps it has seen."""

    def init(self, groups: Groups) -> State:
        return {"seen": torch.zeros(())}

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        seen = state["seen"] + 1
        return Update(seen, seen * torch.ones_like(groups.norms)), {"seen": seen}


def test_state_dict_round_trip_with_a_stateful_method() -> None:
    def step(model: Net, regulariser: Regulariser) -> None:
        regulariser.after_step(torch.optim.SGD(model.parameters(), lr=0.01))

    whole, broken = Net(), Net()
    first = Regulariser(whole, plan_of(whole, Mode.DECOUPLED, 0.1, Counting()), ramp=8)
    second = Regulariser(broken, plan_of(broken, Mode.DECOUPLED, 0.1, Counting()), ramp=8)
    for _ in range(4):
        step(whole, first)
    for _ in range(2):
        step(broken, second)
    saved = second.state_dict()
    third = Regulariser(broken, plan_of(broken, Mode.DECOUPLED, 0.1, Counting()), ramp=8)
    third.load_state_dict(saved)
    for _ in range(2):
        step(broken, third)
    assert third.step == 4 and third.states[0]["seen"] == 4
    assert_same(state(broken), state(whole), rtol=0, atol=0)
    with pytest.raises(InputError, match="the checkpoint holds 0 method states, the plan 1"):
        third.load_state_dict({"step": 1, "states": []})


def test_each_member_learns_at_the_couplings_rate_and_frozen_models_stay() -> None:
    model = Net()
    groups = [{"params": model.up.parameters(), "lr": 0.2}, {"params": model.down.parameters(), "lr": 0.1}]
    optimizer = torch.optim.SGD(groups)
    before, n = state(model), unit_norms(state(model))
    Regulariser(model, plan_of(model, Mode.DECOUPLED, 0.5, GroupLasso())).after_step(optimizer)
    factor = 1 - 0.2 * 0.5 * 5**0.5 / n
    torch.testing.assert_close(model.up.weight.detach(), before["up.weight"] * factor[:, None])
    torch.testing.assert_close(model.down.weight.detach(), before["down.weight"] * factor)
    other = Net()
    elsewhere = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    Regulariser(other, plan_of(other, Mode.PROXIMAL, 0.5)).after_step(elsewhere)
    assert_same(state(other), state(Net()), rtol=0, atol=0)


def test_bf16_autocast_gets_the_same_penalty_gradients() -> None:
    added = []
    for bf16 in (False, True):
        model = Net()
        regulariser = Regulariser(model, plan_of(model, Mode.GRADIENT, 0.3))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            model(**Pairs(4).batch(0, 4))["loss"].backward()
            task = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
            for p in model.parameters():
                p.grad = torch.zeros_like(p)
            regulariser.before_step()
        assert task["up.weight"].dtype == torch.float32
        added.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert_same(added[1], added[0], rtol=0, atol=0)
    expected = penalty_gradients(Net())
    assert_same(added[0], {name: 0.3 * g for name, g in expected.items()})


def test_bf16_weights_take_a_penalty_computed_in_fp32() -> None:
    model = Net().bfloat16()
    regulariser = Regulariser(model, plan_of(model, Mode.GRADIENT, 1.0))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    regulariser.before_step()
    expected = penalty_gradients(Net().bfloat16().float())
    assert model.up.weight.grad is not None and model.up.weight.grad.dtype == torch.bfloat16
    torch.testing.assert_close(model.up.weight.grad.float(), expected["up.weight"], rtol=2e-2, atol=1e-4)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("unscale", [False, True])
def test_grad_scaler_neither_scales_nor_loses_the_penalty(fused: bool, unscale: bool) -> None:
    results = []
    for scaled in (False, True):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
        Regulariser(model, plan_of(model, Mode.GRADIENT, 0.3)).attach(optimizer)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        for _ in range(3):
            optimizer.zero_grad()
            scaler.scale(model(**Pairs(4).batch(0, 4))["loss"]).backward()
            if unscale:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        results.append(state(model))
    assert_same(results[1], results[0], rtol=1e-5, atol=1e-6)


def test_a_tied_weight_is_penalised_once() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3, bias=False), "b": nn.Linear(3, 3, bias=False)})
    model["b"].weight = model["a"].weight
    tied = Coupling("tied", (producer("a.weight", "u i -> u"), producer("b.weight", "u i -> u")))
    for mode in (Mode.GRADIENT, Mode.DECOUPLED):
        weight = model["a"].weight
        before = weight.detach().clone()
        regulariser = Regulariser(model, make_plan(model, "net", [tied], method=GroupLasso(), mode=mode, strengths=0.5))
        weight.grad = torch.zeros_like(weight)
        unit = before / before.norm(dim=1, keepdim=True)
        if mode is Mode.GRADIENT:
            regulariser.before_step()
            torch.testing.assert_close(weight.grad, 0.5 * 3**0.5 * unit)
        else:
            regulariser.after_step(torch.optim.SGD(model.parameters(), lr=0.1))
            torch.testing.assert_close(weight.detach(), before - 0.1 * 0.5 * 3**0.5 * unit)


class Broken:
    def init(self, groups: Groups) -> State:
        return {}

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        raise ArithmeticError("the method broke")


@pytest.mark.parametrize("mode", list(Mode))
def test_errors_of_methods_come_out_of_the_step(mode: Mode) -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Regulariser(model, plan_of(model, mode, 0.3, Broken())).attach(optimizer)
    model(**Pairs(4).batch(0, 4))["loss"].backward()
    with pytest.raises(ArithmeticError, match="the method broke"):
        optimizer.step()


def test_a_plan_for_another_model_is_refused() -> None:
    with pytest.raises(InputError, match="fingerprint"):
        Regulariser(Net(units=5), plan_of(Net(), Mode.GRADIENT, 0.1))
