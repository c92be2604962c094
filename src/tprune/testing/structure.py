"""Whether a structure's norms, mask and cut are those of its groups."""

from __future__ import annotations

import torch

from tprune.core.structure import Shape, Structure
from tprune.support.errors import InputError
from tprune.testing.common import TOLERANCE, apart, require


def check_structure(structure: Structure, shape: Shape, *, seed: int = 0) -> None:
    """Norms, mask and cut of one structure on one tensor shape agree with its index map, element by element.

    Args:
        structure: to be checked.
        shape: of the tensor.
        seed: of its values.

    Raises:
        AssertionError: they do not, or a group set to zero has a norm above zero.

    Example:
        >>> check_structure(Structure("(h d) i -> h", {"h": 2}), (6, 3))
    """
    random, where = torch.Generator().manual_seed(seed), f"pattern {structure.pattern!r} on {shape}"
    w = torch.randn(shape, generator=random, dtype=torch.float64)
    layout = structure.layout(shape)
    index, count = layout.index(), int(torch.tensor(layout.groups).prod())
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, index.flatten(), w.flatten().square())
    off = apart(sums.sqrt().reshape(layout.groups), structure.norms(w))
    require(off < TOLERANCE, f"{where}: norms differ from brute force")
    sizes = torch.bincount(index.flatten(), minlength=count).reshape(layout.groups)
    require(torch.equal(sizes, structure.counts(shape)), f"{where}: counts differ from brute force")
    numbers = torch.arange(count).reshape(layout.groups)
    require(torch.equal(structure.expand(numbers, w), index), f"{where}: expand differs from the index map")

    keep = torch.rand(layout.groups, generator=random) > 0.5
    part = w.clone()
    structure.scale_(part, keep.double())
    require(torch.equal(part, w * structure.expand(keep, w)), f"{where}: scale_ differs from expand")
    added = w.clone()
    structure.add_scaled_(added, w, keep.double())
    require(torch.equal(added, w + part), f"{where}: add_scaled_ differs from expand")
    norms = structure.norms(part)
    require(bool((norms[~keep] == 0).all()), f"{where}: a zero group's norm is not exactly zero")
    require(bool((norms[keep & (sizes > 0)] > 0).all()), f"{where}: a group with weights has norm zero")

    lines = [torch.rand(size, generator=random) > 0.4 for size in layout.groups]
    product = torch.ones(layout.groups, dtype=torch.bool)
    for axis, line in enumerate(lines):
        product &= line.reshape([-1 if a == axis else 1 for a in range(len(lines))])
    try:
        stays = structure.axis_keep(shape, product)
    except InputError:
        stays = None  # nothing is left of one axis but not of another
    if stays is not None:
        mask, taken = structure.expand(product, w), structure.take(w, product)
        require(torch.equal(taken.flatten(), w[mask]), f"{where}: take keeps other elements than expand marks")
        left = tuple(int(stays[axis].sum()) if axis in stays else size for axis, size in enumerate(shape))
        require(tuple(taken.shape) == left, f"{where}: take leaves {tuple(taken.shape)}, axis_keep says {left}")
