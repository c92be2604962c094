"""What a method gives beside its slopes: a pull on member tensors, and a mask of the groups that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from small_net import Net, Pairs, assert_same, plan_of, state, unit_norms
from tprune.core.coupling import Coupling, Groups, bias, producer
from tprune.core.method import State, Update
from tprune.core.plan import Mode, make_plan
from tprune.methods import exact_masks as module
from tprune.methods.controller import Controller
from tprune.methods.regulariser import Regulariser
from tprune.support.errors import InputError, TpruneWarning

KEEP = torch.tensor([True, False, True, False, True, True])
MEMBERS = ("up.weight", "up.bias", "down.weight")


@dataclass(frozen=True)
class Given:
    """Asks for the same at every step."""

    slope: Tensor = field(default_factory=lambda: torch.zeros(6))
    pull: Mapping[str, Tensor] | None = None
    keep: Tensor | None = None

    def init(self, groups: Groups) -> State:
        return {}

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        return Update(torch.zeros(()), self.slope, self.pull, self.keep), state


def pulls() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(5)
    return {name: torch.randn(p.shape, generator=g) for name, p in Net().named_parameters() if name in MEMBERS}


def members_of(weights: Mapping[str, Tensor], dropped: Tensor) -> Tensor:
    return torch.cat(
        [
            weights["up.weight"][dropped].flatten(),
            weights["up.bias"][dropped],
            weights["down.weight"][:, dropped].flatten(),
        ]
    )


def train_step(model: Net, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(**Pairs(8).batch(0, 8))["loss"].backward()
    optimizer.step()


# --- pull ---


def test_a_pull_is_added_to_gradients_with_strength_and_pace() -> None:
    model, pull = Net(), pulls()
    regulariser = Regulariser(model, plan_of(model, Mode.GRADIENT, 0.3, Given(pull=pull)), ramp=4)
    for name, p in model.named_parameters():
        p.grad = torch.full_like(p, 2.0) if name != "up.bias" else None
    regulariser.before_step()
    for name in ("up.weight", "down.weight"):
        torch.testing.assert_close(model.get_parameter(name).grad, 2 + 0.3 * 0.25 * pull[name])
    assert model.up.bias.grad is None  # nothing flowed here, so there is nothing to add to
    assert (model.down.bias.grad == 2).all()


def test_a_decoupled_pull_is_subtracted_after_the_step_at_the_learning_rate() -> None:
    model, pull, slope = Net(), pulls(), torch.full((6,), 0.2)
    before = state(model)
    regulariser = Regulariser(model, plan_of(model, Mode.DECOUPLED, 0.6, Given(slope, pull)), ramp=2)
    model.down.weight.requires_grad_(False)
    regulariser.after_step(torch.optim.SGD([model.up.weight, model.up.bias], lr=0.1))
    shrunk = before["up.weight"] * (1 - 0.1 * 0.3 * 0.2 / unit_norms(before))[:, None]
    torch.testing.assert_close(model.up.weight.detach(), shrunk - 0.03 * pull["up.weight"])
    torch.testing.assert_close(model.up.bias.detach(), before["up.bias"] - 0.03 * pull["up.bias"])
    assert torch.equal(model.down.weight, before["down.weight"])  # it is not in the optimiser


def test_a_tied_tensor_is_pulled_once() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3, bias=False), "b": nn.Linear(3, 3, bias=False)})
    weight = model["b"].weight = model["a"].weight
    tied = Coupling("tied", (producer("a.weight", "u i -> u"), producer("b.weight", "u i -> u")))
    method = Given(torch.zeros(3), {"a.weight": torch.ones(3, 3), "b.weight": torch.ones(3, 3)})
    weight.grad = torch.zeros_like(weight)
    Regulariser(model, make_plan(model, "net", [tied], method=method, mode=Mode.GRADIENT, strengths=0.5)).before_step()
    assert (weight.grad == 0.5).all()


@pytest.mark.parametrize("fused", [False, True])
def test_grad_scaler_neither_scales_nor_loses_a_pull(fused: bool) -> None:
    found = []
    for scaled in (False, True):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
        Regulariser(model, plan_of(model, Mode.GRADIENT, 0.3, Given(pull=pulls()))).attach(optimizer)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        scaler.scale(model(**Pairs(4).batch(0, 4))["loss"]).backward()
        scaler.step(optimizer)
        found.append(state(model))
    assert_same(found[1], found[0], rtol=1e-5, atol=1e-6)


def test_a_pull_has_no_proximal_step() -> None:
    model = Net()
    before = state(model)
    regulariser = Regulariser(model, plan_of(model, Mode.PROXIMAL, 0.3, Given(pull=pulls())))
    with pytest.raises(InputError, match="coupling ffn: Given pulls single weights, but the proximal mode"):
        regulariser.after_step(torch.optim.SGD(model.parameters(), lr=0.1))
    assert_same(state(model), before, rtol=0, atol=0)


def test_a_controller_does_not_steer_pulls() -> None:
    model = Net()
    plan = plan_of(model, Mode.DECOUPLED, 0.3, Given(pull=pulls()))
    goal = plan.with_kept({"ffn": KEEP}, {}, {})
    regulariser = Regulariser(model, goal, controller=Controller(goal, steps=4))
    with pytest.raises(InputError, match="but a controller steers norms"):
        regulariser.after_step(torch.optim.SGD(model.parameters(), lr=0.1))


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (Given(torch.zeros(5)), r"coupling ffn: slope has shape \(5,\); expected \(6,\), one value per group"),
        (Given(keep=KEEP[:5]), r"coupling ffn: keep has shape \(5,\); expected \(6,\)"),
        (Given(keep=KEEP.float()), r"coupling ffn: keep holds torch.float32; expected torch.bool"),
        (
            Given(pull={**pulls(), "up.weight": torch.zeros(6, 4)}),
            r"coupling ffn: the pull on up.weight has shape \(6, 4\); expected \(6, 3\), as the tensor has",
        ),
        (
            Given(pull={**pulls(), "up": torch.zeros(6)}),
            "coupling ffn: up is pulled, but is no member; expected up.weight",
        ),
        (
            Given(pull={"up.weight": torch.zeros(6, 3)}),
            "coupling ffn: there is no pull for down.weight; expected up.weight",
        ),
    ],
)
@pytest.mark.parametrize("mode", [Mode.GRADIENT, Mode.DECOUPLED])
def test_what_does_not_fit_the_coupling_is_named(method: Given, says: str, mode: Mode) -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Regulariser(model, plan_of(model, mode, 0.3, method)).attach(optimizer)
    with pytest.raises(InputError, match=says):
        train_step(model, optimizer)


# --- keep ---


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(
    "kind", [torch.optim.AdamW, torch.optim.Adagrad, torch.optim.SGD], ids=lambda kind: kind.__name__
)
def test_what_is_not_kept_is_zero_after_every_step_in_every_mode(mode: Mode, kind: type[torch.optim.Optimizer]) -> None:
    model = Net()
    momentum = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    optimizer = kind(model.parameters(), lr=0.05, weight_decay=0.1, **momentum)
    Regulariser(model, plan_of(model, mode, 1e-3, Given(keep=KEEP))).attach(optimizer)
    for _ in range(4):
        train_step(model, optimizer)
        assert (members_of(state(model), ~KEEP) == 0).all()
        assert (members_of(state(model), KEEP) != 0).all() and (model.down.bias != 0).all()
        for name in {name for kept in optimizer.state.values() for name in kept} - {"step"}:
            moments = {param: optimizer.state[model.get_parameter(param)][name] for param in MEMBERS}
            assert (members_of(moments, ~KEEP) == 0).all()
            assert members_of(moments, KEEP).abs().sum() > 0


@pytest.mark.parametrize("mode", list(Mode))
def test_what_is_kept_trains_as_if_the_rest_were_masked_by_hand(mode: Mode) -> None:
    model, twin = Net(), Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    Regulariser(model, plan_of(model, mode, 1e-3, Given(keep=KEEP))).attach(optimizer)
    plain = torch.optim.SGD(twin.parameters(), lr=0.05)
    for _ in range(3):
        train_step(model, optimizer)
        train_step(twin, plain)
        with torch.no_grad():
            twin.up.weight[~KEEP], twin.up.bias[~KEEP], twin.down.weight[:, ~KEEP] = 0.0, 0.0, 0.0
    assert_same(state(model), state(twin), rtol=0, atol=0)


def trained_then_left_alone(model: Net) -> Tensor:
    """The members of the masked groups after steps with a mask and some without, whose gradients there are zero."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    regulariser = Regulariser(model, plan_of(model, Mode.GRADIENT, 1.0, Given(keep=torch.ones(6, dtype=torch.bool))))
    for _ in range(3):
        train_step(model, optimizer)
    regulariser = Regulariser(model, plan_of(model, Mode.GRADIENT, 1.0, Given(keep=KEEP)))
    handles = regulariser.attach(optimizer)
    train_step(model, optimizer)
    for handle in handles:
        handle.remove()
    for _ in range(3):
        train_step(model, optimizer)
    return members_of(state(model), ~KEEP)


def test_what_was_masked_does_not_come_back_through_adams_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (trained_then_left_alone(Net()) == 0).all()
    monkeypatch.setattr(module, "moments", lambda optimizer, weight: [])
    assert (trained_then_left_alone(Net()) != 0).any()  # so the moments are what brings them back


def test_the_count_of_steps_is_no_moment() -> None:
    scale = nn.Parameter(torch.tensor(2.0))
    optimizer = torch.optim.Adam([scale])
    scale.grad = torch.tensor(1.0)
    optimizer.step()
    assert len(module.moments(optimizer, scale)) == 2 and optimizer.state[scale]["step"].shape == scale.shape


def test_a_part_of_a_fused_tensor_is_masked_alone() -> None:
    model = nn.Linear(3, 6)
    part = slice(2, 4)
    rows = Coupling("rows", (producer("weight", "u i -> u", part), bias("bias", "u -> u", part)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    method = Given(torch.zeros(2), keep=torch.tensor([True, False]))
    Regulariser(model, make_plan(model, "", [rows], method=method, mode=Mode.GRADIENT, strengths=1.0)).attach(optimizer)
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    empty = torch.tensor([False, False, False, True, False, False])
    moments = optimizer.state[model.weight]["exp_avg"]
    for tensor in (model.weight.detach(), moments):
        assert torch.equal((tensor == 0).all(1), empty)
    assert torch.equal(model.bias == 0, empty)


def test_masks_come_after_the_moves_of_couplings_that_overlap() -> None:
    model = Net()
    inputs = Coupling("inputs", (producer("up.weight", "u i -> i"),))
    units = plan_of(model, Mode.DECOUPLED, 1.0, Given(keep=KEEP))
    method = Given(torch.zeros(3), {"up.weight": torch.ones(6, 3)})
    pulled = make_plan(model, "net", [inputs], method=method, mode=Mode.DECOUPLED, strengths=1.0)
    both = type(units)(units.family, units.fingerprint, units.entries + pulled.entries)
    Regulariser(model, both).after_step(torch.optim.SGD(model.parameters(), lr=0.1))
    assert (model.up.weight[~KEEP] == 0).all()


def test_frozen_members_are_masked_beside_trained_ones_and_frozen_couplings_stay() -> None:
    for mode in Mode:
        model = Net()
        regulariser = Regulariser(model, plan_of(model, mode, 1.0, Given(keep=KEEP)))
        regulariser.before_step()
        regulariser.after_step(torch.optim.SGD([model.up.weight], lr=0.1))
        assert (members_of(state(model), ~KEEP) == 0).all()
        other = Net()
        regulariser = Regulariser(other, plan_of(other, mode, 1.0, Given(keep=KEEP)))
        regulariser.before_step()
        regulariser.after_step(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1))
        assert_same(state(other), state(Net()), rtol=0, atol=0)


class Factored(torch.optim.SGD):
    """Keeps the mean of every row beside the weights, as Adafactor does, and a count of steps."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                kept = self.state[weight]
                kept["step"], kept["rows"] = torch.ones(3), weight.detach().flatten(1).mean(1) if weight.ndim > 1 else 1
        super().step(closure)


def test_state_of_the_optimiser_that_no_mask_fits_is_left_alone_and_said_once() -> None:
    model = Net()
    optimizer = Factored(model.parameters(), lr=0.1)
    Regulariser(model, plan_of(model, Mode.GRADIENT, 1.0, Given(keep=KEEP))).attach(optimizer)
    with pytest.warns(TpruneWarning, match=r"Factored keeps rows of shape \(6,\) of up\.weight.*left as it is") as said:
        train_step(model, optimizer)
        rows = optimizer.state[model.up.weight]["rows"].clone()
        train_step(model, optimizer)
    assert len(said) == 1 and (rows != 0).all()
    assert (members_of(state(model), ~KEEP) == 0).all()


def test_nothing_is_said_of_optimisers_that_masks_fit() -> None:
    for kind in (torch.optim.Adam, torch.optim.SGD, torch.optim.Adagrad):
        model = Net()
        optimizer = kind(model.parameters(), lr=0.1)
        Regulariser(model, plan_of(model, Mode.GRADIENT, 1.0, Given(keep=KEEP))).attach(optimizer)
        train_step(model, optimizer)  # a warning would be an error
