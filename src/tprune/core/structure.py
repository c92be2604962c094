"""A sparsity structure is a pattern in einops' notation.

Axes on the right index groups; axes that vanish lie inside one.

One pattern gives grouping, group norms, the mask and the physical cut. Inside, a pattern compiles to a `Layout`: each
tensor axis split into named factors, from which integer index maps follow, so slices and ragged edges need no special
code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache

import torch
import torch.nn.functional as F
from einops import EinopsError
from einops.parsing import ParsedExpression
from torch import Tensor

from tprune.support.errors import InputError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """A pattern compiled for one tensor shape.

    Attributes:
        shape: the tensor's shape.
        axes: for each tensor axis, the names of its factors, outermost first.
        sizes: the size of every named factor; an outermost factor that does not divide its axis is rounded up (ragged
            edge).
        right: the names that index groups, in order.
    """

    shape: Shape
    axes: tuple[tuple[str, ...], ...]
    sizes: Mapping[str, int]
    right: tuple[str, ...]

    @property
    def groups(self) -> Shape:
        """The shape of the group index."""
        return tuple(self.sizes[name] for name in self.right)

    @property
    def names(self) -> tuple[str, ...]:
        """All factors in the order in which the tensor stores them."""
        return tuple(name for axis in self.axes for name in axis)

    @property
    def padding(self) -> Shape:
        """Elements missing at the end of each tensor axis to fill its last block."""
        full = (math.prod(self.sizes[name] for name in axis) for axis in self.axes)
        return tuple(whole - size for whole, size in zip(full, self.shape, strict=True))

    def split(self, w: Tensor) -> Tensor:
        """`w` with every tensor axis split into its factors; a view unless an edge is ragged."""
        if any(self.padding):
            w = F.pad(w, [n for pad in reversed(self.padding) for n in (0, pad)])
        return w.reshape([self.sizes[name] for name in self.names])

    def spread(self, groups: Tensor) -> Tensor:
        """Group values, shaped so that they broadcast against `split`."""
        stored = [name for name in self.names if name in self.right]
        ordered = groups.permute([self.right.index(name) for name in stored])
        return ordered.reshape([self.sizes[name] if name in self.right else 1 for name in self.names])

    def coordinates(self, axis: int) -> dict[str, Tensor]:
        """For the positions along one tensor axis, the index each of them has on every factor of that axis."""
        position, step, found = torch.arange(self.shape[axis]), 1, {}
        for name in reversed(self.axes[axis]):
            found[name] = position // step % self.sizes[name]
            step *= self.sizes[name]
        return found

    def index(self) -> Tensor:
        """The flat group index of every element, shaped like the tensor."""
        total = torch.zeros((), dtype=torch.long)
        for axis in range(len(self.shape)):
            line = torch.zeros(self.shape[axis], dtype=torch.long)
            for name, coordinate in self.coordinates(axis).items():
                if name in self.right:
                    after = self.right[self.right.index(name) + 1 :]
                    line += coordinate * math.prod(self.sizes[n] for n in after)
            total = total + line.reshape([-1 if a == axis else 1 for a in range(len(self.shape))])
        return total.expand(self.shape)


@dataclass(frozen=True)
class Structure:
    """How a tensor falls into groups, e.g. `Structure("(h d) i -> h", {"h": 8})` for attention heads.

    Norm of group g: `n_g = (Σ_{e in g} w_e²)^½`, accumulated in at least fp32; exactly zero for a zero group.

    Attributes:
        pattern: the axes of the tensor left of the arrow, factors of one axis in brackets; right of it the axes
            that index groups.
        sizes: of all but one of the factors of every bracketed axis, by name.

    Raises:
        InputError: the pattern cannot be parsed, or does not fit a tensor it is used on; the message holds pattern,
            shape and sizes.

    Example:
        >>> w = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
        >>> Structure("o i -> o").norms(w)
        tensor([5., 0.])
        >>> Structure("o i -> o").take(w, torch.tensor([True, False]))
        tensor([[3., 4.]])
    """

    pattern: str
    sizes: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        axes, right = _parse(self.pattern)
        named = {name for axis in axes for name in axis}
        if unknown := (set(self.sizes) | set(right)) - named:
            raise InputError(f"pattern {self.pattern!r}: {', '.join(sorted(unknown))} does not stand left of the arrow")
        if bad := {name: size for name, size in self.sizes.items() if size < 1}:
            raise InputError(f"pattern {self.pattern!r}: sizes must be at least 1, got {bad}")

    def layout(self, shape: Shape) -> Layout:
        """The pattern compiled for tensors of this shape."""
        return _compile(self.pattern, tuple(sorted(self.sizes.items())), tuple(shape))

    def squares(self, w: Tensor) -> Tensor:
        """Squared l2 norm of every group."""
        layout = self.layout(tuple(w.shape))
        parts, wide = layout.split(w), torch.promote_types(w.dtype, torch.float32)
        inner = [i for i, name in enumerate(layout.names) if name not in layout.right]
        elements = parts.to(wide).square()  # and a sum: vector_norm over columns is ten times slower on CPUs
        sums = elements.sum(inner) if inner else elements
        stored = [name for name in layout.names if name in layout.right]
        return sums.permute([stored.index(name) for name in layout.right])

    def norms(self, w: Tensor) -> Tensor:
        """One l2 norm per group, shaped as the right-hand axes."""
        return root(self.squares(w))

    def counts(self, shape: Shape) -> Tensor:
        """How many elements each group has (fewer at ragged edges)."""
        layout = self.layout(shape)
        if any(layout.padding):
            return torch.bincount(layout.index().flatten(), minlength=math.prod(layout.groups)).reshape(layout.groups)
        return torch.full(layout.groups, math.prod(shape) // max(1, math.prod(layout.groups)))

    def expand(self, groups: Tensor, like: Tensor) -> Tensor:
        """Group values to elements: a tensor shaped as `like` holding each element's group value."""
        layout = self.layout(tuple(like.shape))
        full = layout.spread(groups).expand([layout.sizes[name] for name in layout.names])
        whole = full.reshape([size + pad for size, pad in zip(layout.shape, layout.padding, strict=True)])
        return whole[tuple(slice(size) for size in layout.shape)]

    def scale_(self, w: Tensor, groups: Tensor) -> None:
        """Multiplies every element by its group's value, in place."""
        layout = self.layout(tuple(w.shape))
        if any(layout.padding) or not w.is_contiguous():
            w.mul_(self.expand(groups, w).to(w.dtype))
        else:
            layout.split(w).mul_(layout.spread(groups).to(w.dtype))

    def add_scaled_(self, out: Tensor, w: Tensor, groups: Tensor) -> None:
        """`out += groups · w`, each element of `w` times its group's value, in place and without a temporary."""
        layout = self.layout(tuple(w.shape))
        if any(layout.padding) or not (w.is_contiguous() and out.is_contiguous()):
            out.addcmul_(w, self.expand(groups, w).to(w.dtype))
        else:
            layout.split(out).addcmul_(layout.split(w), layout.spread(groups).to(w.dtype))

    def axis_keep(self, shape: Shape, keep: Tensor) -> dict[int, Tensor]:
        """Which positions of each tensor axis stay when only the groups in `keep` (bool, shaped as the groups) stay.

        Raises:
            InputError: the kept groups are no product of positions along the axes, so that no smaller dense tensor
                holds them.
        """
        layout, kept = self.layout(shape), {}
        if tuple(keep.shape) != layout.groups:
            raise InputError(
                f"{self._where(shape)}: keep has shape {tuple(keep.shape)}, the groups have {layout.groups}"
            )
        product = torch.ones_like(keep, dtype=torch.bool)
        for axis, names in enumerate(layout.axes):
            own = [name for name in layout.right if name in names]
            if not own:
                continue
            others = [i for i, name in enumerate(layout.right) if name not in names]
            lines = keep.any(dim=others) if others else keep.bool()
            coordinates = layout.coordinates(axis)
            kept[axis] = lines[tuple(coordinates[name] for name in own)]
            product = product & lines.reshape([layout.sizes[name] if name in own else 1 for name in layout.right])
        if not torch.equal(product, keep.bool()):
            raise InputError(
                f"{self._where(shape)}: the kept groups are no rows × columns; they cannot be cut out densely"
            )
        return kept

    def take(self, w: Tensor, keep: Tensor) -> Tensor:
        """The physical cut: `w` with only the groups in `keep`, in their old order."""
        for axis, lines in self.axis_keep(tuple(w.shape), keep).items():
            w = w.index_select(axis, lines.nonzero().flatten().to(w.device))
        return w

    def _where(self, shape: Shape) -> str:
        return _where(self.pattern, shape, self.sizes)


def root(squares: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0, so that an empty group passes no NaN back."""
    if not squares.requires_grad:
        return squares.sqrt()
    filled = squares > 0
    return torch.where(filled, squares, 1).sqrt() * filled


def _where(pattern: str, shape: Shape, sizes: Mapping[str, int]) -> str:
    return f"pattern {pattern!r} on shape {tuple(shape)} with sizes {dict(sizes)}"


@cache
def _parse(pattern: str) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    left, arrow, right = pattern.partition("->")
    if not arrow:
        raise InputError(f"pattern {pattern!r}: expected 'axes -> groups', there is no '->'")
    try:
        parsed, groups = ParsedExpression(left), ParsedExpression(right)
    except EinopsError as error:
        raise InputError(f"pattern {pattern!r}: {error}") from None
    if parsed.has_ellipsis or parsed.has_non_unitary_anonymous_axes or [] in parsed.composition:
        raise InputError(f"pattern {pattern!r}: every axis left of the arrow needs a name of its own")
    if any(len(axis) != 1 for axis in groups.composition):
        raise InputError(f"pattern {pattern!r}: only single axis names stand right of the arrow")
    return tuple(map(tuple, parsed.composition)), tuple(axis[0] for axis in groups.composition)


@lru_cache(maxsize=4096)
def _compile(pattern: str, sizes: tuple[tuple[str, int], ...], shape: Shape) -> Layout:
    axes, right = _parse(pattern)
    known = dict(sizes)
    where = _where(pattern, shape, known)
    if len(axes) != len(shape):
        raise InputError(f"{where}: the pattern has {len(axes)} axes, the tensor {len(shape)}")
    for axis, length in zip(axes, shape, strict=True):
        unknown = [name for name in axis if name not in known]
        if len(unknown) > 1:
            raise InputError(f"{where}: give the size of all but one of {', '.join(unknown)}")
        inner = math.prod(known[name] for name in axis if name in known)
        if unknown:
            ragged_edge = unknown[0] == axis[0]  # only whole outer blocks can be left unfilled at the end
            if length % inner and not ragged_edge:
                raise InputError(f"{where}: {inner} does not divide {length}, so {unknown[0]!r} has no size")
            known[unknown[0]] = -(-length // inner)
        elif inner != length:
            raise InputError(f"{where}: the sizes of ({' '.join(axis)}) multiply to {inner}, the axis has {length}")
    return Layout(shape, axes, known, right)
