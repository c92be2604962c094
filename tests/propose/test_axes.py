"""Axes as products of atoms: joins, views into heads, slices of fused maps."""

from tprune.propose.axes import fresh, join, leaves, mix, size_of, sliced, viewed


def test_a_view_into_heads_splits_all_that_an_axis_was_joined_with() -> None:
    q, o = fresh(24), fresh(24)
    heads, dims = viewed([q], [4, 6], "")
    join(viewed([heads, dims], [24], "")[0], o, "")
    assert [atom.size for atom in leaves(o)] == [4, 6] and leaves(o) == leaves(q)


def test_heads_in_groups_split_the_heads_of_queries() -> None:
    q, k = fresh(24), fresh(12)
    heads = viewed([q], [4, 6], "")
    groups = viewed([k], [2, 6], "")
    repeated = viewed([groups[0], fresh(2), groups[1]], [4, 6], "")
    join(heads[0], repeated[0], "")
    join(heads[1], repeated[1], "")
    assert [atom.size for atom in leaves(q)] == [2, 2, 6]
    assert leaves(q)[0] is leaves(k)[0] and leaves(q)[2] is leaves(k)[1] and not leaves(q)[0].mixed


def test_slices_are_parts_whatever_their_order() -> None:
    qkv = fresh(72)
    first, rest = sliced(qkv, 0, 24, ""), sliced(qkv, 24, 72, "")
    last = sliced(rest, 24, 48, "")
    assert size_of(first) == size_of(last) == 24 and sliced(qkv, 48, 72, "") == last
    assert not leaves(qkv)[0].mixed


def test_slices_that_overlap_mix_the_axis() -> None:
    axis = fresh(10)
    sliced(axis, 0, 6, "")
    sliced(axis, 4, 10, "overlap")
    assert leaves(axis)[0].mixed == "overlap"


def test_factors_that_do_not_fit_mix_both() -> None:
    one, other = fresh(12), fresh(12)
    viewed([one], [3, 4], "")
    viewed([other], [4, 3], "")
    join(one, other, "torn")
    assert all(atom.mixed == "torn" for atom in (*leaves(one)[:1], *leaves(other)[:1]))


def test_what_is_mixed_stays_so_once_joined() -> None:
    one, other = fresh(5), fresh(5)
    mix(one, "shuffled")
    join(other, one, "")
    assert leaves(other)[0].mixed == "shuffled" and fresh(1) == ()
