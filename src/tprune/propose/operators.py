"""What operators do to axes: which they join, split, slice, contract, or mix. One rule for each kind of operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tprune.propose.axes import Axis, fresh, join, leaves, mix, size_of, sliced, viewed
from tprune.propose.known import Known, TracedProduct

Args = Sequence[Any]  # of an operator of torch, whatever it takes
Kwargs = Mapping[str, Any]
Rule = Callable[[Known, Args, Kwargs, Any], Any]  # known, arguments, keywords, result -> axes


def pointwise(known: Known, tensors: Sequence[Tensor], out: Tensor) -> list[Axis]:
    """Joins the axes of all operands, aligned at their ends; axes of size 1 are spread.

    Args:
        known: so far.
        tensors: operands.
        out: the result.
    """
    found: list[Axis] = []
    for back in range(1, out.ndim + 1):
        met = [known.of(x)[-back] for x in tensors if x.ndim >= back and x.shape[-back] == out.shape[-back]]
        met = [axis for axis in met if axis]
        for other in met[1:]:
            join(met[0], other, f"an elementwise operation in {known.place}")
        found.insert(0, met[0] if met else fresh(out.shape[-back]))
    return found


def _same(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    return list(known.of(args[0]))


def _reduce(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    """Axes that are summed over go, or keep size 1."""
    given = args[1] if len(args) > 1 else kwargs.get("dim")
    dims = range(args[0].ndim) if given in (None, []) else [given] if isinstance(given, int) else given
    gone = {dim % args[0].ndim for dim in dims}
    axes = known.of(args[0])
    for dim in gone:
        _reduced(known, axes[dim])
    kept = out.ndim == args[0].ndim
    return [() if dim in gone else axis for dim, axis in enumerate(axes) if kept or dim not in gone]


def _length(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    """A vector norm, whose second argument is its order."""
    return _reduce(known, (args[0], *args[2:3]), kwargs, out)


def _reduced(known: Known, axis: Axis) -> None:
    for atom in leaves(axis):
        atom.reduced.add(known.where)


def _along(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    """An operation along one axis that leaves its positions in place: softmax, running sums."""
    _reduced(known, known.of(args[0])[args[1] if len(args) > 1 else -1])
    return list(known.of(args[0]))


def _view(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    if not out.numel():
        return [fresh(size) for size in out.shape]
    return viewed(known.of(args[0]), list(out.shape), f"a view in {known.place}")


def _transpose(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    axes = list(known.of(args[0]))
    if len(axes) > 1:
        one, other = args[1:3] if len(args) > 2 else (0, 1)
        axes[one], axes[other] = axes[other], axes[one]
    return axes


def _permute(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    return [known.of(args[0])[dim] for dim in args[1]]


def _unsqueeze(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    axes = list(known.of(args[0]))
    axes.insert(args[1] % out.ndim, ())
    return axes


def _squeeze(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    given = args[1] if len(args) > 1 else range(args[0].ndim)
    dims = {dim % args[0].ndim for dim in ([given] if isinstance(given, int) else given)}
    axes, shape = known.of(args[0]), args[0].shape
    return [axis for dim, axis in enumerate(axes) if dim not in dims or shape[dim] != 1]


def _expand(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    """Axes of size 1 become new ones."""
    axes, shape = known.of(args[0]), args[0].shape
    more = out.ndim - len(axes)
    sized = zip(out.shape, [None] * more + list(shape), [()] * more + list(axes), strict=True)
    return [axis if size == before else fresh(size) for size, before, axis in sized]


def _slice(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    x, dim, start, stop, step = (*args, *(None,) * 4)[:5]
    axes, dim = list(known.of(x)), (dim or 0) % x.ndim
    size, why = x.shape[dim], f"a slice in {known.place}"
    first, last, _ = slice(start, None if stop is None else min(stop, size)).indices(size)
    if step not in (None, 1):
        mix(axes[dim], why)
        axes[dim] = fresh(out.shape[dim], why)
    else:
        axes[dim] = sliced(axes[dim], first, last, why) if size > 1 else axes[dim]
    return axes


def _select(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    x, dim, index = args
    axes, size = list(known.of(x)), x.shape[dim]
    if size > 1:
        sliced(axes[dim], index % size, index % size + 1, f"a selection in {known.place}")
    del axes[dim]
    return axes


def _split(known: Known, args: Args, kwargs: Kwargs, out: Sequence[Tensor]) -> list[list[Axis]]:
    x, dim = args[0], (args[2] if len(args) > 2 else kwargs.get("dim", 0)) % args[0].ndim
    found, start = list[list[Axis]](), 0
    for piece in out:
        stop = start + piece.shape[dim]
        axes = list(known.of(x))
        axes[dim] = sliced(axes[dim], start, stop, f"a split in {known.place}") if x.shape[dim] > 1 else axes[dim]
        found.append(axes)
        start = stop
    return found


def _unbind(known: Known, args: Args, kwargs: Kwargs, out: Sequence[Tensor]) -> list[list[Axis]]:
    dim = args[1] if len(args) > 1 else 0
    return [_select(known, (args[0], dim, index), {}, piece) for index, piece in enumerate(out)]


def _cat(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
    full = [x for x in args[0] if x.numel()]
    if len(full) == 1:
        return list(known.of(full[0]))
    why, found = f"tensors joined end to end in {known.place}", list[Axis]()
    for each in range(out.ndim):
        axes = [known.of(x)[each] for x in full]
        if each == dim:
            for axis in axes:
                mix(axis, why)
            found.append(fresh(out.shape[dim], why))
            continue
        for other in axes[1:]:
            join(axes[0], other, why)
        found.append(axes[0] if axes else fresh(out.shape[each]))
    return found


def _stack(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    dim = (args[1] if len(args) > 1 else 0) % out.ndim
    found = pointwise(known, args[0], args[0][0])
    found.insert(dim, fresh(out.shape[dim]))
    return found


def _mm(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    a, b = args[:2]
    x, y = known.of(a), known.of(b)
    join(x[-1], y[-2], f"a product in {known.place}")
    if out.ndim == 3:
        join(x[0], y[0], f"a product in {known.place}")
    known.product(a, b, out, known.named(b))
    return [*x[:-1], y[-1]]


def _addmm(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    axes = _mm(known, args[1:], kwargs, out)
    known.axes[id(out)] = axes
    return pointwise(known, [out, args[0]], out)


def _convolution(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    x, weight, shift = args[:3]
    before, held, why = known.of(x), known.of(weight), f"a convolution in groups in {known.place}"
    if args[8] != 1 or args[6]:
        mix([*before[1], *held[0], *held[1]], why)
        return [before[0], *(fresh(size, why) for size in out.shape[1:])]
    join(before[1], held[1], f"a convolution in {known.place}")
    if shift is not None:
        join(held[0], known.of(shift)[0], why)
    known.product(x, weight, out, known.named(weight))
    single = x.shape[2:] == out.shape[2:] and all(size == 1 for size in weight.shape[2:])
    return [before[0], held[0], *(before[2:] if single else (fresh(size) for size in out.shape[2:]))]


def _embedding(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    return [*known.of(args[1]), known.of(args[0])[1]]


def _norm(known: Known, args: Args, kwargs: Kwargs, out: Any) -> list[list[Axis]]:
    """Layer norm over the last axes."""
    x, shape, *weights = args[:4]
    axes = known.of(x)
    for axis in axes[len(axes) - len(shape) :]:
        _reduced(known, axis)
    axes = pointwise(known, [x, *(w for w in weights if isinstance(w, Tensor))], x)
    return [axes, *_others(out)]


def _batch_norm(known: Known, args: Args, kwargs: Kwargs, out: Any) -> list[list[Axis]]:
    axes = list(known.of(args[0]))
    for tensor in args[1:5]:
        if isinstance(tensor, Tensor):
            join(axes[1], known.of(tensor)[0], f"a batch norm in {known.place}")
    return [axes, *_others(out)]


def _others(out: Any) -> list[list[Axis]]:
    """New axes for all results but the first; none for a result that is no tensor."""
    others = out[1:] if isinstance(out, tuple | list) else ()
    return [[fresh(size) for size in x.shape] if isinstance(x, Tensor) else [] for x in others]


def _attention(known: Known, args: Args, kwargs: Kwargs, out: Any) -> list[list[Axis]]:
    """Softmax of a product, and a product with values, in one."""
    q, k, v = args[:3]
    a, b, c = (known.of(x) for x in (q, k, v))
    why = f"an attention in {known.place}"
    for one, other in ((a[0], b[0]), (a[0], c[0]), (a[1], b[1]), (a[1], c[1]), (a[3], b[3]), (b[2], c[2])):
        if size_of(leaves(one)) == size_of(leaves(other)):
            join(one, other, why)
        else:
            mix([*one, *other], why)
    result = out[0] if isinstance(out, tuple | list) else out
    known.product(q, k, result, "")
    scores = known.made[id(result)]
    known.products.append(TracedProduct(known.where, scores, known.from_(v), False))
    known.made[id(result)] = scores | known.from_(v)
    return [[a[0], a[1], a[2], c[3]], *_others(out)]


def _index(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    x, given = args[:2]
    indices = [*given, *[None] * (x.ndim - len(given))]
    used = [dim for dim, index in enumerate(indices) if index is not None]
    axes = known.of(x)
    more = out.ndim - (x.ndim - len(used))
    if used != list(range(used[0], used[0] + len(used))) or any(indices[dim].dtype == torch.bool for dim in used):
        mix([atom for axis in axes for atom in axis], f"an index in {known.place}")
        return [fresh(size) for size in out.shape]
    new = [fresh(size) for size in out.shape[used[0] : used[0] + more]]
    return [*axes[: used[0]], *new, *axes[used[-1] + 1 :]]


def _resized(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    """Axes whose size stays are kept; the others are new (padding, repeats, scaled images)."""
    axes, more = known.of(args[0]), out.ndim - args[0].ndim
    found = [fresh(size) for size in out.shape[:more]]
    for size, before, axis in zip(out.shape[more:], args[0].shape, axes, strict=True):
        if size != before:
            mix(axis, f"an axis of another size in {known.place}")
        found.append(axis if size == before else fresh(size))
    return found


def _written(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    return pointwise(known, [args[0], args[1]], args[0])


def _moved(known: Known, x: Tensor, dims: Sequence[int], what: str) -> list[Axis]:
    """Positions change places along some axes, all if none is given: these are mixed, the others stay."""
    axes, why = list(known.of(x)), f"{what} in {known.place}"
    for dim in {each % (x.ndim or 1) for each in dims} or range(x.ndim):
        mix(axes[dim], why)
        axes[dim] = fresh(x.shape[dim], why)
    return axes


def _rolled(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    return _moved(known, args[0], args[2] if len(args) > 2 else kwargs.get("dims", ()), "a roll")


def _flipped(known: Known, args: Args, kwargs: Kwargs, out: Tensor) -> list[Axis]:
    return _moved(known, args[0], args[1], "a flip")


def _sorted(known: Known, args: Args, kwargs: Kwargs, out: Sequence[Tensor]) -> list[list[Axis]]:
    """Values in their order, and where they were."""
    axes = _moved(known, args[0], [args[1] if len(args) > 1 else kwargs.get("dim", -1)], "a sort")
    return [list(axes), list(axes)]


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("clone", "detach", "_to_copy", "alias", "tril", "triu", "lift_fresh", "contiguous"), _same),
    **dict.fromkeys(("mean", "sum", "var", "std", "amax", "amin", "argmax", "any", "all"), _reduce),
    "linalg_vector_norm": _length,
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax", "cumsum"), _along),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias"), _view),
    **dict.fromkeys(("transpose", "t"), _transpose),
    "permute": _permute,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "expand": _expand,
    "slice": _slice,
    "select": _select,
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), _split),
    "unbind": _unbind,
    "cat": _cat,
    "stack": _stack,
    **dict.fromkeys(("mm", "bmm"), _mm),
    **dict.fromkeys(("addmm", "baddbmm"), _addmm),
    "convolution": _convolution,
    "embedding": _embedding,
    **dict.fromkeys(("native_layer_norm", "_fused_rms_norm"), _norm),
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit_no_training"), _batch_norm),
    **dict.fromkeys(
        (
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_attention_math",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_flash_attention",
        ),
        _attention,
    ),
    "index": _index,
    **dict.fromkeys(("constant_pad_nd", "repeat", "upsample_bicubic2d", "upsample_bilinear2d"), _resized),
    "copy_": _written,
    "roll": _rolled,
    "flip": _flipped,
    "sort": _sorted,
}
