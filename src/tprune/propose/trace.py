"""A forward pass, watched: what every operator does to the axes of the model's tensors."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tprune.core.coupling import tensors_of
from tprune.propose.axes import Atom, Axis, fresh, leaves, mix
from tprune.propose.known import Known, TracedProduct
from tprune.propose.operators import RULES, Args, Kwargs, pointwise
from tprune.support.errors import InputError

Run = Callable[[nn.Module], Tensor]  # a model's output on some inputs
KEEPS_NAME = {"t", "transpose", "detach", "alias", "_to_copy", "permute", "squeeze", "view", "unsqueeze"}
MAKES = ("new_", "empty", "zeros", "ones", "arange", "fill")  # how operators are called that look at no values


@dataclass(frozen=True)
class TracedPlace:
    """Where an axis of a tensor of the model is.

    Attributes:
        tensor: its name.
        axis: which one.
        start: the first position, where the atom is a part of the axis.
        size: how many positions the axis has.
    """

    tensor: str
    axis: int
    start: int
    size: int


@dataclass(frozen=True)
class Trace:
    """What a forward pass shows.

    Attributes:
        axes: of the model's tensors, as they are after all joins; tied ones have the same.
        products: in their order.
        returns: how many results each module returns.
        strange: by operator, why axes are not followed through it, in words.
    """

    axes: Mapping[str, tuple[Axis, ...]]
    products: Sequence[TracedProduct]
    returns: Mapping[str, int]
    strange: Mapping[str, str]

    def classes(self) -> dict[Atom, list[TracedPlace]]:
        """By atom, the axes of tensors that are that atom and nothing else, in whole or a part of them."""
        found: dict[Atom, list[TracedPlace]] = {}
        for name, axes in self.axes.items():
            for number, axis in enumerate(axes):
                if len(axis) == 1:
                    for start, atom in _pieces(axis[0], 0):
                        found.setdefault(atom, []).append(TracedPlace(name, number, start, axis[0].size))
        return found


def _pieces(atom: Atom, start: int) -> Iterator[tuple[int, Atom]]:
    yield start, atom
    for first, part in atom.parts:
        now = leaves([part])
        if len(now) == 1:
            yield from _pieces(now[0], start + first)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # its __init_subclass__
    """Applies the rule of every operator; what has none mixes the axes of its operands."""

    def __init__(self, known: Known) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = known
        self.last = ""  # the operator that ran last
        self.alive: list[Any] = []  # identities stand for tensors only as long as these live

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Runs the operator, then follows the axes."""
        out = func(*args, **(kwargs or {}))
        self.alive.append((args, kwargs, out))
        known, name = self.known, func.overloadpacket.__name__
        self.last = name
        results = _results(out)
        if not any(isinstance(x, Tensor) for x in results):
            return out
        given = [x for x in _flat((args, kwargs or {})) if isinstance(x, Tensor)]
        made = frozenset(itertools.chain.from_iterable(known.from_(x) for x in given))
        found = self._paired(name, func, args, kwargs or {}, given, out)
        for result, axes in zip(results, found, strict=True):
            if isinstance(result, Tensor):
                known.axes[id(result)] = axes
                known.made.setdefault(id(result), made)
        if name in KEEPS_NAME and known.named(args[0]):
            known.names[id(out)] = known.named(args[0])
        return out

    def _paired(
        self, name: str, func: Any, args: Args, kwargs: Kwargs, given: list[Tensor], out: Any
    ) -> list[list[Axis]]:
        """The axes of every result, those that are no tensors too, so that none is taken for another's."""
        found = self._axes(name, func, args, kwargs, given, out)
        if isinstance(out, Tensor):
            return [found]
        if len(found) != len(out):
            said = f"the rule of operator {name} failed in {self.known.place}: {len(found)} results for {len(out)}"
            return list(self._unknown(name, given, out, said))
        return found

    def _axes(self, name: str, func: Any, args: Args, kwargs: Kwargs, given: list[Tensor], out: Any) -> list[Any]:
        plain = name.rstrip("_") if name not in RULES else name
        if plain in RULES and args:
            try:
                return list(RULES[plain](self.known, args, kwargs, out))
            except (TypeError, LookupError, ValueError, AttributeError) as error:  # a form that no rule has seen
                said = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
                why = f"the rule of operator {name} failed in {self.known.place}: {said}"
                return self._unknown(name, given, out, why)
        if not given or plain.endswith("_like") or plain.startswith(MAKES):
            return _fresh(out)
        if torch.Tag.pointwise in func.tags and isinstance(out, Tensor):
            return pointwise(self.known, given, out)
        if not any(x.is_floating_point() for x in given):  # positions and indices
            return _fresh(out)
        return self._unknown(name, given, out)

    def _unknown(self, name: str, given: list[Tensor], out: Any, failed: str = "") -> list[Any]:
        why = f"operator {name} in {self.known.place}"
        self.known.strange.setdefault(name, failed or f"{why} has no rule")
        for x in given:
            mix([atom for axis in self.known.of(x) for atom in axis], why)
        return _fresh(out, why)


def _results(out: object) -> list[Any]:
    """What an operator returns, as a list."""
    if isinstance(out, Tensor):
        return [out]
    return list(out) if isinstance(out, list | tuple) else []


def _fresh(out: Any, why: str = "") -> list[Any]:
    """New axes for a tensor, or for several."""
    if isinstance(out, Tensor):
        return [fresh(size, why) for size in out.shape]
    return [[fresh(size, why) for size in x.shape] if isinstance(x, Tensor) else [] for x in out]


def _flat(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _flat(each)
    else:
        yield value


@contextmanager
def _placed(model: nn.Module, known: Known, returns: dict[str, int]) -> Iterator[None]:
    """Says in `known` which module runs, and counts what each returns."""
    outside: list[str] = []

    def enter(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            outside.append(known.where)
            known.where = name

        return hook

    def leave(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, out: Any) -> None:
            known.where = outside.pop()
            returns[name] = len(out) if isinstance(out, tuple) else 1

        return hook

    hooks = [module.register_forward_pre_hook(enter(name)) for name, module in model.named_modules() if name]
    hooks += [module.register_forward_hook(leave(name)) for name, module in model.named_modules() if name]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def trace(model: nn.Module, run: Run) -> Trace:
    """Watches one forward pass.

    Args:
        model: a small model, evaluating.
        run: its output on some inputs.

    Raises:
        InputError: the model does not run on these inputs; names the module and the operator before.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
        >>> found = trace(net, lambda m: m(torch.ones(2, 3)))
        >>> [place.tensor for places in found.classes().values() for place in places if len(places) == 3]
        ['0.weight', '0.bias', '2.weight']
    """
    tensors, returns = tensors_of(model), dict[str, int]()
    known = Known({id(tensor): name for name, tensor in reversed(tensors.items())})
    watch = _Watch(known)
    try:
        with torch.no_grad(), _placed(model, known, returns), watch:
            run(model)
    except Exception as error:  # whatever the code of a stranger's model raises
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"{type(model).__name__} cannot be traced: {type(error).__name__} in {known.place}, after operator "
            f"{watch.last or 'none'}: {said}; give inputs that it runs on (tprune.propose_family(model, inputs)), or "
            "write the table by hand: docs/add-your-own.md, A family"
        ) from error
    axes = {name: tuple(leaves(axis) for axis in known.of(tensor)) for name, tensor in tensors.items()}
    return Trace(axes, known.products, returns, known.strange)
