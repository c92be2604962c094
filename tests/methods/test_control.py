"""The controller empties what the goal cuts, neither less nor more, whatever strength it starts from."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from small_net import UNITS, Net, Pairs, StopAt, trainer_for
from tprune.budget.size import keep_largest
from tprune.core.plan import Mode, Plan, make_plan
from tprune.methods.controller import Controller, to_be_cut
from tprune.methods.hoyer_square import PacedHoyerSquare
from tprune.methods.regulariser import Regulariser
from tprune.support.errors import InputError


def goal_of(model: nn.Module, kept: int, strength: float) -> Plan:
    plan = make_plan(model, "net", [UNITS], method=PacedHoyerSquare(), mode=Mode.PROXIMAL, strengths=strength)
    mask = torch.arange(plan.entries[0].groups[0]) < kept
    return plan.with_kept({"ffn": mask}, {}, {})


def test_the_smallest_of_every_row_are_cut() -> None:
    norms = torch.tensor([[3.0, 1.0, 0.0], [2.0, 2.5, 1.0]])
    assert to_be_cut(norms, kept=4).tolist() == [[False, False, True], [False, False, True]]
    assert to_be_cut(norms, kept=2).tolist() == [[False, True, True], [True, False, True]]
    assert not to_be_cut(norms, kept=6).any() and to_be_cut(norms, kept=0).all()
    assert bool(to_be_cut(torch.tensor(2.0), kept=0)) and not bool(to_be_cut(torch.tensor(2.0), kept=1))


def residue(norms: Tensor, kept: int) -> float:
    squares = norms.detach().square()
    return float((squares * to_be_cut(norms, kept)).sum() / squares.sum())


@pytest.mark.parametrize("strength", [0.02, 0.5, 5.0])
def test_the_goal_is_reached_from_any_strength(strength: float) -> None:
    torch.manual_seed(0)
    model, data, steps = Net(units=24), Pairs(64), 300
    goal = goal_of(model, 10, strength)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    regulariser = Regulariser(model, goal, controller=Controller(goal, steps * 3 // 4))
    regulariser.attach(optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(model(**data.batch(0, 64))["loss"])
        optimizer.step()
    norms = regulariser.groups[0].refresh().norms
    assert residue(norms, 10) < 1e-3
    assert int((norms > 1e-2 * norms.max()).sum()) == 10  # what is kept was not emptied with the rest
    keep = keep_largest(model, goal).entries[0].keep
    assert int(keep.sum()) == 10 and norms[keep].min() >= norms[~keep].max()


def test_strengths_follow_what_is_left_and_only_pull_what_goes() -> None:
    goal = goal_of(Net(units=4), 2, 1.0)
    norms, slope = torch.tensor([1.0, 0.5, 1.0, 0.5]), torch.tensor([-1.0, 1.0, 1.0, -1.0])
    slow = Controller(goal, 10)
    grown = [slow.steer(0, norms, slope, step) for step in range(10)]  # nothing fades: stronger and stronger
    assert all((pulled == torch.tensor([0.0, float(pulled[1]), 0.0, 0.0])).all() for pulled in grown)
    assert grown[0][1] == 1 and all(a[1] < b[1] for a, b in pairwise(grown))
    fast = Controller(goal, 10)
    fast.steer(0, norms, slope, 0)
    gone = [fast.steer(0, torch.tensor([1.0, 1e-9, 1.0, 1e-9]), slope, step)[1] for step in range(1, 60)]
    assert gone[0] < 1 and gone[-1] == pytest.approx(0.01)
    nothing = Controller(goal_of(Net(units=4), 4, 1.0), 10)
    assert not nothing.steer(0, norms, slope, 5).any() and nothing.state_dict()["logs"] == [0.0]


def test_it_needs_a_goal_and_its_own_checkpoint() -> None:
    model = Net()
    plan = make_plan(model, "net", [UNITS])
    with pytest.raises(InputError, match="select first"):
        Controller(plan, 10)
    with pytest.raises(InputError, match="select first"):
        keep_largest(model, plan)
    with pytest.raises(InputError, match="controls 2 couplings, the plan has 1"):
        Controller(goal_of(model, 2, 1.0), 10).load_state_dict({"logs": [0.0, 0.0], "first": [None, None]})


def test_a_resumed_trainer_goes_on_with_the_strengths_it_had(tmp_path: Path) -> None:
    def run(out: Path, resume: bool, *extra: TrainerCallback) -> tuple[dict[str, Tensor], Any]:
        model = Net()
        goal = goal_of(model, 2, 0.3)
        controller = Controller(goal, 4)
        callbacks = [Regulariser(model, goal, controller=controller), *extra]
        trainer = trainer_for(model, out, callbacks, save_strategy="steps", save_steps=2)
        trainer.train(resume_from_checkpoint=resume)
        return dict(model.state_dict()), controller.state_dict()

    whole, control = run(tmp_path / "whole", False)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", False, StopAt(3))
    resumed, found = run(tmp_path / "broken", True)
    assert found == control and control["logs"] != [0.0]
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
