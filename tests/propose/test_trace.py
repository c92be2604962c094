"""What operators do to axes: positions that move, results that are no tensors, rules that fail."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tprune.propose import trace as tracing
from tprune.propose.axes import fresh, leaves
from tprune.propose.found import notes_of
from tprune.propose.known import Known
from tprune.propose.operators import RULES
from tprune.propose.trace import Trace, trace


class Moves(nn.Module):
    """Two maps with something between them."""

    def __init__(self, between: Any) -> None:
        super().__init__()
        self.first, self.last, self.between = nn.Linear(4, 6), nn.Linear(6, 3), between

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.between(self.first(x)))
        return out


def seen(between: Any) -> Trace:
    return trace(Moves(between).eval(), lambda model: model(torch.randn(2, 5, 4)))


@pytest.mark.parametrize(
    ("between", "mixed"),
    [
        (lambda x: x.relu(), ""),
        (lambda x: x.roll(1, -1), "a roll in the model's own forward"),
        (lambda x: x.roll(1), "mixed"),
        (lambda x: x.roll(1, 1), ""),
        (lambda x: x.flip(-1), "a flip in the model's own forward"),
        (lambda x: x.flip([0, 1]), ""),
        (lambda x: x.sort(-1).values, "a sort in the model's own forward"),
        (lambda x: x.sort(dim=-1, stable=True)[0], "a sort in the model's own forward"),
        (lambda x: x.sort(1).values, ""),
        (lambda x: x.sort(1).indices + x, ""),
    ],
)
def test_positions_that_move_are_mixed_and_other_axes_stay(between: Any, mixed: str) -> None:
    found = seen(between)
    (units,) = leaves(found.axes["first.weight"][0])
    if mixed == "mixed":  # all axes as one: how it is called says nothing of which
        assert units.mixed
        return
    assert units.mixed == mixed
    assert (leaves(found.axes["last.weight"][1]) == (units,)) is not bool(mixed)
    assert not found.strange


def test_results_that_are_no_tensors_take_no_other_ones_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, a, b = tracing._Watch(Known({})), torch.randn(2, 3), torch.randn(4, 5)

    def func(*_: Any, **__: Any) -> tuple[Any, ...]:
        return None, a, 7, b

    func.overloadpacket, func.tags = type("several", (), {}), ()  # type: ignore[attr-defined]
    axes = [[], [fresh(2), fresh(3)], [], [fresh(4), fresh(5)]]
    monkeypatch.setitem(RULES, "several", lambda *_: axes)  # type: ignore[arg-type]
    watch.__torch_dispatch__(func, (), (a,))
    assert watch.known.axes[id(a)] == axes[1] and watch.known.axes[id(b)] == axes[3]
    assert not watch.known.strange
    monkeypatch.setitem(RULES, "several", lambda *_: axes[1:])  # type: ignore[arg-type]
    watch.__torch_dispatch__(func, (), (a,))
    assert watch.known.strange["several"].endswith("the model's own forward: 3 results for 4")


def test_a_rule_that_fails_is_told_from_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise IndexError("no third argument")

    monkeypatch.setitem(RULES, "clone", fails)  # type: ignore[arg-type]
    found = notes_of(seen(lambda x: x.clone()))
    assert found == [
        "the rule of operator clone failed in the model's own forward: IndexError: no third argument: axes are not "
        "followed through it"
    ]
    found = notes_of(seen(lambda x: torch.fft.fft(x).real))
    assert found[0].startswith("operator _fft_r2c in the model's own forward has no rule: axes are not followed")


def test_tensors_that_are_given_by_name_live_as_long_as_their_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, given = tracing._Watch(Known({})), torch.randn(3)
    with watch:
        torch.ops.aten.add.out(given, 1.0, out=torch.empty(3))
    assert any("out" in (kwargs or {}) for _, kwargs, _ in watch.alive)
