"""Every method: value and slopes against autograd of a formula written down independently of the package."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tprune.core.coupling import Coupling, Groups, bias, consumer, groups_of, producer
from tprune.core.method import Method
from tprune.methods.group_lasso import GroupLasso
from tprune.methods.hoyer_square import HoyerSquare, PacedHoyerSquare

ALL = (GroupLasso(), HoyerSquare(), PacedHoyerSquare())


def unit_norms(up: Tensor, down: Tensor) -> Tensor:
    return torch.cat([up, down.T], dim=1).norm(dim=1)


def element_norms(up: Tensor, down: Tensor) -> Tensor:
    return (up.square() + down.square()).sqrt()


def hoyer(n: Tensor) -> Tensor:
    return n.sum() ** 2 / (n**2).sum()


def coupling(kind: str) -> Coupling:
    if kind == "group":
        return Coupling("c", (producer("up", "u i -> u"), bias("b", "u -> u"), consumer("down", "o u -> u")))
    return Coupling("c", (producer("up", "u i -> u i"), consumer("down", "u i -> u i")))


def tensors(seed: int, kind: str, units: int = 4, width: int = 3) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    down = (width, units) if kind == "group" else (units, width)
    shapes = {"up": (units, width), "b": (units,), "down": down}
    return {name: torch.randn(shape, generator=g, dtype=torch.float64) for name, shape in shapes.items()}


def bound(t: dict[str, Tensor], kind: str) -> Groups:
    return groups_of(coupling(kind), t)


def weight_gradient(method: Method, groups: Groups, param: str) -> Tensor:
    """What the regulariser adds for strength 1: slope · w / n, 0 in empty groups."""
    update, _ = method.update(groups, method.init(groups), 0)
    factors = torch.where(groups.norms > 0, update.slope / groups.norms, 0)
    view = next(v for v in groups.coupling.views if v.param == param)
    return view.structure.expand(factors, groups.tensors[param]) * groups.tensors[param]


FORMULAS: list[tuple[Method, Callable[[Tensor, Tensor], Tensor]]] = [
    (HoyerSquare(), lambda n, size: hoyer(n)),
    (GroupLasso(), lambda n, size: (size.sqrt() * n).sum()),
]


@pytest.mark.parametrize("kind", ["group", "element"])
@pytest.mark.parametrize(("method", "formula"), FORMULAS, ids=lambda x: type(x).__name__)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-3, 1.0, 1e3]))
@settings(max_examples=25, deadline=None)
def test_value_and_gradient_match_autograd(
    method: Method, formula: Callable[[Tensor, Tensor], Tensor], kind: str, seed: int, scale: float
) -> None:
    t = {name: (scale * w).requires_grad_() for name, w in tensors(seed, kind).items()}
    norms = (unit_norms if kind == "group" else element_norms)(t["up"], t["down"])
    size = torch.tensor(6.0 if kind == "group" else 2.0, dtype=torch.float64)
    expected = formula(norms, size)
    up, down = torch.autograd.grad(expected, [t["up"], t["down"]])
    with torch.no_grad():
        groups = bound(t, kind)
        update, _ = method.update(groups, method.init(groups), 0)
        torch.testing.assert_close(update.value, expected.detach())
        torch.testing.assert_close(weight_gradient(method, groups, "up"), up)
        torch.testing.assert_close(weight_gradient(method, groups, "down"), down)


@given(seed=st.integers(0, 10_000), empty=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_zero_groups_get_no_gradient_and_change_nothing_for_the_others(seed: int, empty: int) -> None:
    t = tensors(seed, "group")
    t["up"][:empty] = 0
    t["down"][:, :empty] = 0
    left = {name: w[:, empty:] if name == "down" else w[empty:] for name, w in t.items()}
    for method in ALL:
        whole, rest = bound(t, "group"), bound(left, "group")
        gradient = weight_gradient(method, whole, "up")
        assert (gradient[:empty] == 0).all()
        torch.testing.assert_close(gradient[empty:], weight_gradient(method, rest, "up"))
        assert whole.norms[:empty].tolist() == [0.0] * empty


@pytest.mark.parametrize("method", ALL, ids=lambda m: type(m).__name__)
def test_a_wholly_zero_coupling_has_value_zero_and_finite_slopes(method: Method) -> None:
    groups = bound({name: torch.zeros_like(w) for name, w in tensors(0, "group").items()}, "group")
    update, _ = method.update(groups, method.init(groups), 0)
    assert update.value == 0 and update.slope.isfinite().all()
    assert (weight_gradient(method, groups, "up") == 0).all()
    if not isinstance(method, GroupLasso):
        assert (update.slope == 0).all()


@pytest.mark.parametrize("method", ALL, ids=lambda m: type(m).__name__)
def test_methods_are_pure(method: Method) -> None:
    t = tensors(3, "group")
    before = {name: w.clone() for name, w in t.items()}
    groups = bound(t, "group")
    first, state = method.update(groups, method.init(groups), 0)
    second, _ = method.update(groups, state, 0)
    assert torch.equal(first.slope, second.slope) and torch.equal(first.value, second.value)
    assert all(torch.equal(t[name], before[name]) for name in t)
    assert isinstance(method, Method) and first.value.shape == () and first.slope.shape == groups.shape


norm_lists = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12)


def line_groups(norms: list[float]) -> Groups:
    return groups_of(
        Coupling("lines", (producer("w", "u i -> u"),)), {"w": torch.tensor(norms, dtype=torch.float64)[:, None]}
    )


def update_of(method: Method, norms: list[float]) -> tuple[Tensor, Tensor]:
    update, _ = method.update(line_groups(norms), {}, 0)
    return update.value, update.slope


@given(norm_lists, st.floats(1e-3, 1e3))
@settings(max_examples=60, deadline=None)
def test_hoyer_square_is_scale_free_and_lies_between_one_and_the_number_of_groups(
    norms: list[float], scale: float
) -> None:
    value, _ = update_of(HoyerSquare(), norms)
    assert 1 - 1e-9 <= value <= len(norms) + 1e-9
    torch.testing.assert_close(update_of(HoyerSquare(), [scale * n for n in norms])[0], value, rtol=1e-9, atol=0)
    assert update_of(PacedHoyerSquare(), norms)[0] == value


@given(norm_lists)
@settings(max_examples=60, deadline=None)
def test_hoyer_square_trims_below_its_threshold_and_is_orthogonal_to_the_norms(norms: list[float]) -> None:
    n = torch.tensor(norms, dtype=torch.float64)
    edge = n.square().sum() / n.sum()
    for method in (HoyerSquare(), PacedHoyerSquare()):
        _, slope = update_of(method, norms)
        clear = (n - edge).abs() > 1e-9 * edge
        assert ((slope > 0) == (n < edge))[clear].all()
    _, slope = update_of(HoyerSquare(), norms)
    assert abs(float((slope * n).sum())) < 1e-9 * float(
        (slope.abs() * n).sum() + 1
    )  # a scale-free function: Σ n ∂R/∂n = 0


def test_hoyer_square_of_equal_norms_is_flat_and_of_one_group_is_one() -> None:
    value, slope = update_of(HoyerSquare(), [2.0] * 5)
    assert value == pytest.approx(5) and slope.abs().max() < 1e-12
    value, slope = update_of(HoyerSquare(), [0.0, 0.0, 7.0])
    assert value == pytest.approx(1) and slope[2] == pytest.approx(0)


def test_paced_slopes_are_the_plain_ones_times_one_factor_and_start_at_the_root_of_the_group_size() -> None:
    t = tensors(1, "group")
    t["up"][0] *= 1e-9
    t["down"][:, 0] *= 1e-9
    groups = bound(t, "group")
    plain, paced = HoyerSquare().update(groups, {}, 0)[0].slope, PacedHoyerSquare().update(groups, {}, 0)[0].slope
    ratio = paced / plain
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    assert paced[0] == pytest.approx(6**0.5, rel=1e-6)  # a vanishing group of 6 elements


def test_tiny_norms_stay_finite() -> None:
    for method in ALL:
        groups = groups_of(
            Coupling("c", (producer("w", "o i -> o"),)), {"w": torch.tensor([[1e-20, 0.0], [1e-30, 0.0], [1e-18, 0.0]])}
        )
        update, _ = method.update(groups, {}, 0)
        assert update.value.isfinite() and update.slope.isfinite().all()
