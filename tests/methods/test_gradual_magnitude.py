"""Masks that grow: the schedule, what they keep, and that what is masked stays zero while training."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from small_net import UNITS, Net, Pairs, plan_of
from tprune.core.coupling import Coupling, Groups, groups_of, producer
from tprune.core.plan import Mode, Plan, make_plan
from tprune.methods import exact_masks as module
from tprune.methods.gradual_magnitude import GradualMagnitude
from tprune.methods.regulariser import Regulariser
from tprune.support.errors import InputError
from tprune.testing import check_method


def lines(norms: list[float]) -> Groups:
    return groups_of(Coupling("lines", (producer("w", "u i -> u"),)), {"w": torch.tensor(norms)[:, None]})


@pytest.mark.parametrize("seed", range(3))
def test_it_keeps_the_protocol(seed: int) -> None:
    check_method(GradualMagnitude(), seed=seed)
    check_method(GradualMagnitude(share=0.9, initial=0.3, over=2, every=1), seed=seed)


@given(st.integers(0, 50), st.integers(1, 60), st.integers(1, 20), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_the_share_is_the_cubic_of_the_paper(begin: int, over: int, step: int, one: float, other: float) -> None:
    initial, final = sorted((one, other))
    method = GradualMagnitude(final, initial, begin, over)
    at = begin + min(step, over)
    expected = final + (initial - final) * (1 - (at - begin) / over) ** 3
    assert method.share_at(at) == pytest.approx(expected)
    assert method.share_at(begin + over + step) == pytest.approx(final)


@given(st.lists(st.floats(0, 10, width=32), min_size=1, max_size=20), st.integers(0, 3), st.integers(1, 4), st.data())
@settings(max_examples=50, deadline=None)
def test_masks_only_grow_take_the_smallest_and_reach_their_share(
    norms: list[float], begin: int, every: int, data: st.DataObject
) -> None:
    share = data.draw(st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]))
    method = GradualMagnitude(share, 0.0, begin, over=7, every=every)
    groups = lines(norms)
    state = method.init(groups)
    before = state["keep"]
    for step in range(begin + 10):
        update, state = method.update(groups, state, step)
        keep = update.keep
        assert keep is not None and torch.equal(keep, state["keep"]) and update.value == keep.sum()
        assert not (keep & ~before).any() and not update.slope.any()
        if (step - begin) % every and step - begin != 7:
            assert torch.equal(keep, before)
        if keep.any() and not keep.all():
            assert groups.norms[~keep].max() <= groups.norms[keep].min()
        before = keep
    assert int(before.sum()) == len(norms) - int(share * len(norms) + 1e-9)
    assert before.any() or share == 1


def test_a_masked_group_stays_masked_when_others_shrink_below_it() -> None:
    method = GradualMagnitude(share=0.5, initial=0.5)
    _, state = method.update(lines([4.0, 1.0, 3.0, 2.0]), method.init(lines([4.0, 1.0, 3.0, 2.0])), 0)
    assert state["keep"].tolist() == [True, False, True, False]
    update, _ = method.update(lines([0.0, 9.0, 0.0, 9.0]), state, 100)
    assert update.keep is not None and update.keep.tolist() == [True, False, True, False]


def test_a_mask_that_is_ahead_of_its_schedule_stays() -> None:
    update, _ = GradualMagnitude(share=0.5).update(
        lines([4.0, 1.0, 3.0]), {"keep": torch.tensor([True, True, False])}, 0
    )
    assert update.keep is not None and update.keep.tolist() == [True, True, False]


def test_dimensions_inside_heads_are_masked_balanced() -> None:
    heads = Coupling("dims", (producer("w", "(h d) i -> h d", h=2),))
    w = torch.tensor([1.0, 2.0, 3.0, 4.0, 8.0, 7.0, 6.0, 5.0])[:, None]
    method = GradualMagnitude(share=0.5, initial=0.5)
    groups = groups_of(heads, {"w": w})
    update, _ = method.update(groups, method.init(groups), 0)
    assert update.keep is not None
    assert update.keep.tolist() == [[False, False, True, True], [True, True, False, False]]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"share": 1.5}, "0 ≤ initial ≤ share ≤ 1"),
        ({"share": 0.2, "initial": 0.3}, "shares are 0.3 and 0.2"),
        ({"begin": -1}, "steps"),
        ({"over": 0}, "expected at least 0, 1 and 1"),
        ({"every": 0}, "steps"),
    ],
)
def test_a_schedule_that_is_none_is_refused(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        GradualMagnitude(**wrong)  # type: ignore[arg-type]


def test_a_plan_with_it_is_read_back() -> None:
    model = Net()
    plan = plan_of(model, Mode.GRADIENT, 1.0, GradualMagnitude(share=0.3, over=40))
    assert Plan.from_json(plan.to_json()) == plan


def train(model: Net, steps: int, masked: list[torch.Tensor], seen: list[torch.Tensor]) -> None:
    """Trains with Adam and growing masks, then without them; notes the masks, and the members of what is masked."""
    plan = make_plan(
        model, "net", [UNITS], method=GradualMagnitude(0.5, 0.0, 2, 8, 2), mode=Mode.GRADIENT, strengths=1.0
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=0.01)
    regulariser = Regulariser(model, plan)
    handles = regulariser.attach(optimizer)
    for step in range(steps + 5):
        if step == steps:
            for handle in handles:
                handle.remove()
        optimizer.zero_grad()
        model(**Pairs(16).batch(0, 16))["loss"].backward()
        optimizer.step()
        empty = ~regulariser.states[0]["keep"]
        masked.append(empty)
        members = (model.up.weight[empty], model.up.bias[empty], model.down.weight[:, empty])
        seen.append(torch.cat([member.detach().flatten() for member in members]))


def test_with_adam_masked_groups_are_zero_at_every_step_and_never_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[torch.Tensor] = []
    seen: list[torch.Tensor] = []
    train(Net(), 14, masked, seen)
    assert [int(mask.sum()) for mask in masked[:3]] == [0, 0, 0] and int(masked[-1].sum()) == 3
    assert all((later | earlier).equal(later) for earlier, later in pairwise(masked))
    assert all((members == 0).all() for members in seen)  # while the masks hold, and once they are gone

    monkeypatch.setattr(module, "moments", lambda optimizer, weight: [])
    masked, seen = [], []
    train(Net(), 14, masked, seen)
    assert all((members == 0).all() for members in seen[:14])
    assert all((members != 0).any() for members in seen[14:])  # Adam's moments move them as soon as nothing masks them
