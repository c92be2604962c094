"""Couplings: joint norms, what counts once, sizes, and messages that name members."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tprune.core.coupling import Coupling, Groups, View, bias, bind, consumer, groups_of, producer, tensors_of
from tprune.support.errors import InputError


def ffn_tensors(units: int = 3, width: int = 2) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {"up": torch.randn(units, width), "b": torch.randn(units), "down": torch.randn(width, units)}


FFN = Coupling("ffn", (producer("up", "u i -> u"), bias("b", "u -> u"), consumer("down", "o u -> u")), kind="ffn")


def groups(tensors: dict[str, Tensor], *views: View) -> Groups:
    return groups_of(Coupling("c", views), tensors)


def test_norm_is_the_root_of_summed_squares_without_biases() -> None:
    t = ffn_tensors()
    g = groups_of(FFN, t)
    torch.testing.assert_close(g.norms, (t["up"].square().sum(1) + t["down"].square().sum(0)).sqrt())
    assert g.shape == (3,)
    assert g.sizes.tolist() == [4, 4, 4]  # 2 of the row, 2 of the column; the bias is cut, not counted
    assert [view.param for view, _ in g.counted] == ["up", "down"]
    assert FFN.params == ("up", "b", "down")


def test_refresh_sees_changed_tensors_and_norms_are_kept_until_then() -> None:
    t = ffn_tensors()
    g = groups_of(FFN, t)
    before = g.norms.clone()
    t["up"].mul_(2)
    t["down"].mul_(2)
    assert torch.equal(g.norms, before)
    torch.testing.assert_close(g.refresh().norms, 2 * before)
    assert g.refresh() is g


def test_a_tied_tensor_counts_once() -> None:
    w = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    g = groups({"a": w, "b": w}, producer("a", "o i -> o"), producer("b", "o i -> o"))
    assert g.norms.tolist() == [5.0, 1.0] and g.sizes.tolist() == [2, 2]
    g.scale_(torch.tensor([0.5, 1.0]))
    assert w.tolist() == [[1.5, 2.0], [0.0, 1.0]]  # and is scaled once


def test_a_tie_through_another_tensor_of_the_same_memory_counts_once() -> None:
    w = torch.ones(2, 2)
    assert groups({"a": w, "b": w.view(2, 2)}, producer("a", "o i -> o"), producer("b", "o i -> o")).sizes.tolist() == [
        2,
        2,
    ]


def test_equal_but_separate_tensors_count_twice() -> None:
    g = groups({"a": torch.ones(2, 2), "b": torch.ones(2, 2)}, producer("a", "o i -> o"), producer("b", "o i -> o"))
    assert g.sizes.tolist() == [4, 4]


def test_overlapping_parts_count_their_common_elements_once() -> None:
    w = torch.arange(1.0, 9.0).reshape(4, 2)
    g = groups({"w": w}, producer("w", "o i -> i", slice(0, 3)), producer("w", "o i -> i", slice(1, 4)))
    torch.testing.assert_close(g.norms, w.square().sum(0).sqrt())
    assert g.sizes.tolist() == [4, 4]
    g.scale_(torch.tensor([2.0, 1.0]))
    assert w[:, 0].tolist() == [2.0, 6.0, 10.0, 14.0]


def test_the_same_elements_in_different_groups_count_in_both() -> None:
    w = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    g = groups({"w": w}, producer("w", "u i -> u"), consumer("w", "o u -> u"))
    expected = w.square().sum(1) + w.square().sum(0) - w.diag().square()  # only the diagonal is in one group twice
    torch.testing.assert_close(g.norms, expected.sqrt())
    assert g.sizes.tolist() == [3, 3]


def test_parts_of_a_fused_tensor_are_its_own_rows() -> None:
    qkv = torch.arange(1.0, 25.0).reshape(8, 3)  # rows 0-1 and 2-3 are q and k of two heads, 4-7 are v, two rows a head
    g = groups(
        {"qkv": qkv},
        producer("qkv", "(h d) i -> h", slice(0, 2), h=2),
        producer("qkv", "(h d) i -> h", slice(2, 4), h=2),
        producer("qkv", "(h d) i -> h", slice(4, 8), h=2),
    )
    first = torch.cat([qkv[0], qkv[2], qkv[4], qkv[5]])
    torch.testing.assert_close(g.norms[0], first.norm())
    assert g.sizes.tolist() == [12, 12]
    g.scale_(torch.tensor([0.0, 1.0]))
    assert (qkv.sum(1) == 0).tolist() == [True, False, True, False, True, True, False, False]


@pytest.mark.parametrize("part", [slice(None, None), slice(2, 2), slice(3, 1), slice(-2, 4), slice(0, 4, 2)])
def test_parts_must_be_plain_rows(part: slice) -> None:
    with pytest.raises(InputError, match="view of w: a part is"):
        producer("w", "o i -> o", part)


def test_group_sizes_at_ragged_edges_match_the_elements() -> None:
    g = groups({"w": torch.ones(5, 2)}, producer("w", "(B b) i -> B", b=2))
    assert g.sizes.tolist() == [4, 4, 2]
    assert g.norms.square().tolist() == pytest.approx([4, 4, 2])


def test_disagreeing_members_are_named() -> None:
    t = ffn_tensors() | {"down": torch.ones(2, 4)}
    with pytest.raises(InputError, match=r"coupling ffn: up has groups \(3,\), down has \(4,\)"):
        groups_of(FFN, t)


def test_a_missing_member_is_named() -> None:
    with pytest.raises(InputError, match="coupling ffn: the model has no tensor 'down'"):
        groups_of(FFN, {k: v for k, v in ffn_tensors().items() if k != "down"})


def test_nothing_to_measure_and_no_groups_are_refused() -> None:
    with pytest.raises(InputError, match="coupling c: only biases"):
        _ = groups({"b": torch.ones(2)}, bias("b", "u -> u")).norms
    with pytest.raises(InputError, match="coupling c: no groups are left"):
        groups({"w": torch.ones(0, 2)}, producer("w", "o i -> o"))


def test_bind_refuses_two_couplings_of_one_name() -> None:
    model = nn.Linear(2, 2)
    coupling = Coupling("twice", (producer("weight", "o i -> o"),))
    with pytest.raises(InputError, match="two couplings are called 'twice'"):
        bind([coupling, coupling], model)


def test_tensors_of_lists_tied_names_and_buffers() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "n": nn.BatchNorm1d(2)})
    model["b"] = model["a"]
    found = tensors_of(model)
    assert found["a.weight"] is found["b.weight"] and "n.running_mean" in found


def test_norms_pass_gradients_to_every_counted_member_and_none_at_zero() -> None:
    t = {k: v.requires_grad_() for k, v in ffn_tensors().items()}
    with torch.no_grad():
        t["up"][0] = 0
        t["down"][:, 0] = 0
    g = groups_of(FFN, t)
    assert g.norms[0] == 0
    g.norms.sum().backward()
    assert t["b"].grad is None
    for name, dim in (("up", 1), ("down", 0)):
        grad = t[name].grad
        assert grad is not None and grad.isfinite().all()
        assert (grad.movedim(1 - dim, 0)[0] == 0).all()
        assert (grad.movedim(1 - dim, 0)[1:] != 0).all()


def test_a_coupling_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="coupling nothing: no views; expected at least one tensor"):
        Coupling("nothing", ())


@pytest.mark.parametrize("overlapping", [False, True])
def test_scaled_copies_are_what_scale_makes_of_the_tensors(overlapping: bool) -> None:
    w = torch.arange(1.0, 10.0).reshape(3, 3)
    views = (producer("a", "u i -> u"), consumer("b" if overlapping else "c", "o u -> u"), bias("d", "u -> u"))
    groups = groups_of(Coupling("c", views), {"a": w, "b": w, "c": w + 1, "d": torch.ones(3)})
    before = {name: tensor.clone() for name, tensor in groups.tensors.items()}
    keep = torch.tensor([True, False, True])
    found = groups.scaled(keep)
    assert all(torch.equal(tensor, before[name]) for name, tensor in groups.tensors.items())
    groups.scale_(keep.float())
    assert all(torch.equal(found[name], tensor) for name, tensor in groups.tensors.items())
    if overlapping:
        assert found["a"] is found["b"] and found["a"].tolist() == [[1, 0, 3], [0, 0, 0], [7, 0, 9]]


def test_axes_of_groups_have_the_names_of_the_pattern() -> None:
    heads = Coupling("heads", (producer("w", "(h d) i -> d h", h=2), consumer("v", "o (h d) -> d h", h=2)))
    groups = groups_of(heads, {"w": torch.ones(6, 2), "v": torch.ones(2, 6)})
    assert groups.names == ("d", "h") and groups.shape == (3, 2)


def test_a_group_is_filled_where_any_member_is_not_zero() -> None:
    views = (producer("w", "u i -> u"), bias("b", "u -> u"))
    w = torch.tensor([[0.0, 1e-30], [0.0, 0.0], [0.0, 0.0], [float("nan"), 0.0]])
    groups = groups_of(Coupling("c", views), {"w": w, "b": torch.tensor([0.0, 2.0, 0.0, 0.0])})
    assert groups.filled.tolist() == [True, True, False, True]
