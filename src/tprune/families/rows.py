"""Rows: the lines of a family's table.

Each says where one block of a model is, and knows what can be cut from it and what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tprune.core.coupling import Coupling, Role, View, consumer, producer, tensors_of
from tprune.core.cuts import Cuts
from tprune.core.sites import Site
from tprune.core.structure import Shape, Structure
from tprune.support.errors import InputError

Shapes = Mapping[str, Shape]  # of a model's tensors, by name
Heads = Mapping[Site, int]  # how many heads an attention keeps


@dataclass(frozen=True)
class Weights:
    """How linear maps hold their weights.

    Attributes:
        kind: the class of the maps.
        outputs: the axis of their output features, 0 or 1.
    """

    kind: type[nn.Module]
    outputs: int

    @property
    def inputs(self) -> int:
        """The axis of their input features."""
        return 1 - self.outputs

    def axes(self, outputs: Any, inputs: Any) -> tuple[Any, Any]:
        """What is said of outputs and inputs, in the order of the axes."""
        return (outputs, inputs) if self.outputs == 0 else (inputs, outputs)


LINEAR, CONV1D = Weights(nn.Linear, 0), Weights(Conv1D, 1)  # the second is what GPT-2 has


@dataclass(frozen=True)
class Changes:
    """What `config.pruned` says of a row, beside the shapes of its tensors (see modeling/modeling_pruned.py).

    Attributes:
        replaced: by module, what it is replaced with.
        attributes: by module, the attributes from which its code reads sizes, and others that follow from them.
        values: by attention whose values have another width than its queries, its sizes.
        kept: by attention that is given a bias for each head of the dense model, the heads that are left.
    """

    replaced: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, int | float]] = field(default_factory=dict)
    values: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@runtime_checkable
class Row(Protocol):
    """A line of a family's table."""

    @property
    def module(self) -> str:
        """The module that holds the block, after which its couplings are called."""
        ...

    @property
    def site(self) -> Site:
        """Where the block lies."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """The modules whose output features are the row's to cut."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """The modules whose input features are the row's to cut."""
        ...

    def check(self, model: nn.Module) -> None:
        """Raises `InputError` for a tensor that does not fit the row, naming it, its shape and the expected one."""
        ...

    def couplings(self, shapes: Shapes) -> Iterator[Coupling]:
        """What can be cut from the block."""
        ...

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """What the cuts leave of the block. Raises `InputError` for what no small model can hold."""
        ...


def shapes_of(model: nn.Module) -> dict[str, Shape]:
    """The shapes of all tensors of a model.

    Args:
        model: any module.
    """
    return {name: tuple(tensor.shape) for name, tensor in tensors_of(model).items()}


def part(model: nn.Module, row: str, name: str, *kinds: type[nn.Module]) -> Any:
    """The module that a row names. Raises `InputError` where there is none, or one of another kind.

    Args:
        model: any module.
        row: the row's module, for messages.
        name: of the wanted module.
        kinds: the classes that it may have; any if none is given.
    """
    try:
        found = model.get_submodule(name)
    except AttributeError:
        raise InputError(f"{row}: its row names {name!r}, and the model has no such module") from None
    if kinds and not isinstance(found, kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise InputError(f"{row}: its row names {name!r}, which is a {type(found).__name__}; expected {expected}")
    return found


def gone(model: nn.Module, module: str) -> bool:
    """Whether earlier pruning has left nothing of a block. Raises `InputError` where the model has no such module.

    Args:
        model: any module.
        module: the name of the block.
    """
    return bool(getattr(part(model, module, module), "removed", False))


def expect(model: nn.Module, row: str, module: str, tensor: str, *shape: int | None) -> Shape:
    """The shape of a module's tensor. Raises `InputError` unless it is as expected, where None stands for any size.

    Args:
        model: any module.
        row: the row's module, for messages.
        module: that holds the tensor.
        tensor: its name inside the module.
        shape: the expected size of every axis; None for any.
    """
    held = getattr(part(model, row, module), tensor, None)
    if not isinstance(held, Tensor):
        raise InputError(f"{row}: its row names {module!r}, which has no {tensor}")
    found: Shape = tuple(held.shape)
    if len(found) != len(shape) or any(b not in (None, a) for a, b in zip(found, shape, strict=True)):
        said = " x ".join("any" if size is None else str(size) for size in shape)
        raise InputError(
            f"{row}: {module}.{tensor} has shape {' x '.join(map(str, found))}; its row expects {said} (any: "
            "whatever the size)"
        )
    return found


def linear(
    model: nn.Module, row: str, name: str, outputs: int | None, inputs: int | None, held: Weights = LINEAR
) -> int:
    """How many outputs a linear map has.

    Raises `InputError` unless it is one, of the expected sizes, where None stands for any.

    Args:
        model: any module.
        row: the row's module, for messages.
        name: of the map.
        outputs: expected features; None for any number.
        inputs: expected features; None for any number.
        held: how the map holds its weight.
    """
    module = part(model, row, name, held.kind)
    rows: int = expect(model, row, name, "weight", *held.axes(outputs, inputs))[held.outputs]
    if module.bias is not None:
        expect(model, row, name, "bias", rows)
    return rows


def features(
    role: Role,
    shapes: Shapes,
    module: str,
    axis: str,
    groups: str,
    sizes: Mapping[str, int] | None = None,
    held: Weights = LINEAR,
) -> Iterator[View]:
    """The views of a matrix's output features, and of their biases if it has any.

    Args:
        role: of the matrix.
        shapes: of the model's tensors.
        module: the matrix.
        axis: how its rows are made up, such as `(h d)`.
        groups: which of those index groups.
        sizes: of factors.
        held: how the matrix is held.
    """
    yield View(
        f"{module}.weight", Structure(f"{' '.join(held.axes(axis, 'i'))} -> {groups}".rstrip(), sizes or {}), role
    )
    if f"{module}.bias" in shapes:
        yield View(f"{module}.bias", Structure(f"{axis} -> {groups}".rstrip(), sizes or {}), Role.BIAS)


def reads(module: str, axis: str, groups: str, sizes: Mapping[str, int] | None = None, held: Weights = LINEAR) -> View:
    """The view of a matrix's input features; see `features`.

    Args:
        module: the matrix.
        axis: how its columns are made up, such as `(h d)`.
        groups: which of those index groups.
        sizes: of factors.
        held: how the matrix is held.
    """
    pattern = f"{' '.join(held.axes('o', axis))} -> {groups}".rstrip()
    return View(f"{module}.weight", Structure(pattern, sizes or {}), Role.CONSUMER)


def whole(block: str, site: Site, views: Iterable[View]) -> Coupling:
    """The coupling of a whole block, kept or removed.

    Args:
        block: the name of the block's module.
        site: where it lies.
        views: of all its tensors.
    """
    return Coupling(f"{block}.sublayer", tuple(views), kind="sublayer", site=site)


def lines(matrix: str, site: Site) -> Iterator[Coupling]:
    """The input and the output lines of one matrix, which no other matrix has to follow: open, to be gathered.

    Args:
        matrix: the name of the module that holds it.
        site: where it lies.
    """
    weight = f"{matrix}.weight"
    yield Coupling(f"{matrix}.in", (consumer(weight, "o i -> i"),), closed=False, kind="lines", site=site)
    yield Coupling(f"{matrix}.out", (producer(weight, "o i -> o"),), closed=False, kind="lines", site=site)


def without(module: str, output: str, *, constant: bool, returns: int = 1, passes: str = "") -> Changes:
    """What takes the place of a block of which nothing is left.

    Args:
        module: the block.
        output: its last map, in the block or after it.
        constant: whether the bias of that map goes on being added.
        returns: how many results the code of the block returns.
        passes: the argument that is its second result.
    """
    block: dict[str, Any] = {"kind": "nothing", "returns": returns} | ({"passes": passes} if passes else {})
    if not output.startswith(f"{module}."):
        return Changes({module: block, output: {"kind": "constant" if constant else "nothing"}})
    return Changes({module: block | ({"output": output.removeprefix(f"{module}.")} if constant else {})})
