"""The signatures of graphs: what a runtime is fed and what it gives back, by name. Read without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Dialect = Literal["onnx23", "masked", "plain"]
"""How a graph writes attention: as the one operator of ONNX opset 23; as products, an added mask and a softmax.

Or as torch's own `scaled_dot_product_attention`.
"""
BUILDS = ("encoder-decoder", "decoder-only", "single-pass")  # how models are run: names of skeletons
BATCH = "batch"  # the free size that all inputs have first
TOKENS, PAST, TOTAL = (
    "tokens",
    "past",
    "total",
)  # free lengths: of a sequence, of what was read before, and of both together


@dataclass(frozen=True)
class TensorSpec:
    """An input of a graph.

    Attributes:
        name: of the input.
        dtype: as numpy calls it: `int64`, `float32`.
        dims: its sizes; a word stands for a free one, the same word for equal ones.
        fill: the value that an input of typical content is filled with where only its size matters.
    """

    name: str
    dtype: str
    dims: tuple[int | str, ...]
    fill: int = 0

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape where free sizes have these values.

        Example:
            >>> TensorSpec("input_ids", "int64", ("batch", "tokens")).shape({"batch": 2, "tokens": 7})
            (2, 7)
        """
        return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in self.dims)


@dataclass(frozen=True)
class Signature:
    """A graph as a runtime sees it.

    Attributes:
        name: of the graph, and of its file without ending.
        inputs: in the order in which the graph takes them.
        outputs: their names, in order.
        states: pairs of an input and the output that is handed to it in the next step.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    states: tuple[tuple[str, str], ...] = ()

    @property
    def given(self) -> tuple[TensorSpec, ...]:
        """The inputs that are no state."""
        past = {before for before, _ in self.states}
        return tuple(spec for spec in self.inputs if spec.name not in past)

    @property
    def text(self) -> tuple[str, str]:
        """The names of the token ids and of their mask, of a graph that reads text step by step.

        Raises:
            ValueError: it has not one input of tokens, and one of what was read before and now.
        """
        ids, masks = ([spec.name for spec in self.given if dim in spec.dims] for dim in (TOKENS, TOTAL))
        if len(ids) != 1 or len(masks) != 1:
            given = ", ".join(spec.name for spec in self.given)
            raise ValueError(f"graph {self.name} is given {given}; expected one input of {TOKENS} and one of {TOTAL}")
        return ids[0], masks[0]

    @property
    def past(self) -> tuple[TensorSpec, ...]:
        """The inputs that are states, in the order of `states`."""
        by_name = {spec.name: spec for spec in self.inputs}
        return tuple(by_name[before] for before, _ in self.states)

    @property
    def results(self) -> tuple[str, ...]:
        """The outputs that are no state."""
        present = {after for _, after in self.states}
        return tuple(name for name in self.outputs if name not in present)


def sizes_of(specs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The values of the free sizes in inputs of these shapes.

    Args:
        specs: of the inputs.
        shapes: of the tensors that are given, by name.

    Raises:
        ValueError: an input is missing, or a shape does not fit, with what was expected.

    Example:
        >>> specs = (TensorSpec("ids", "int64", ("batch", "tokens")), TensorSpec("mask", "int64", ("batch", "tokens")))
        >>> sizes_of(specs, {"ids": (2, 7), "mask": (2, 7)})
        {'batch': 2, 'tokens': 7}
        >>> sizes_of(specs, {"ids": (2, 7), "mask": (2, 6)})
        Traceback (most recent call last):
        ValueError: mask has shape (2, 6); expected (2, 7)
    """
    sizes: dict[str, int] = {}
    for spec, shape in _found(specs, shapes):
        if len(shape) != len(spec.dims):
            raise ValueError(f"{spec.name} has shape {shape}; expected ({', '.join(map(str, spec.dims))})")
        for dim, size in zip(spec.dims, shape, strict=True):
            if isinstance(dim, str):
                sizes.setdefault(dim, size)
        if spec.shape(sizes) != shape:
            raise ValueError(f"{spec.name} has shape {shape}; expected {spec.shape(sizes)}")
    return sizes


def _found(
    specs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[int]]
) -> Iterator[tuple[TensorSpec, tuple[int, ...]]]:
    for spec in specs:
        if spec.name not in shapes:
            raise ValueError(f"{spec.name} is missing; expected {', '.join(each.name for each in specs)}")
        yield spec, tuple(shapes[spec.name])
