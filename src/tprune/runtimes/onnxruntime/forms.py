"""The forms that a constant matrix takes in a file of integers, and the nodes that compute with it.

`DynamicWeight` computes in integers: activations are rounded to uint8 while the graph runs, one scale a tensor (so what
a row gives depends, within the rounding, on the other rows of its batch), shared by all products that read the tensor.
It is written in operators of ONNX, which onnxruntime fuses into one kernel a product.

`BlockWeight` is `MatMulNBits` with accuracy level 4, which rounds activations to 8 bits block by block. For one row it
is faster than `DynamicWeight`, for a batch slower. With the other levels onnxruntime 1.31 multiplies 8-bit blocks out
in every run, which takes many times as long as fp32.

`ExpandedWeight` holds integers in the file and is multiplied out once, when a session opens: arithmetic, time and
memory are those of fp32. Kernels of convolutions have that form unless activations are calibrated: `ConvInteger` is
slower than `Conv`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from onnx import TensorProto
from onnx.helper import make_node

from tprune.core.graph import Signature
from tprune.runtimes.onnxruntime.rounding import Floats, block_size, in_blocks, per_row
from tprune.runtimes.onnxruntime.sites import Convolution, Linear, Lookup, Node
from tprune.runtimes.products import Use

CONTRIB = "com.microsoft"
WHOLE = 4  # bytes of a number in single precision, and of a scale
Arrays = Mapping[str, Any]


class Encoded(Protocol):
    """A constant in its form: what the file holds, the nodes that prepare it once, and those of its sites."""

    @property
    def precision(self) -> str:
        """In the report."""
        ...

    @property
    def arrays(self) -> Arrays:
        """What the file holds."""
        ...

    @property
    def front(self) -> Sequence[Node]:
        """Nodes of constants alone, which a session computes when it opens."""
        ...

    def linear(self, site: Linear) -> list[Node]:
        """The product."""
        ...

    def lookup(self, site: Lookup) -> list[Node]:
        """The rows."""
        ...


@runtime_checkable
class Convolving(Protocol):
    """A constant that convolutions read, in its form."""

    def convolution(self, site: Convolution) -> list[Node]:
        """The convolution."""
        ...


class Form(Protocol):
    """How a constant `[N, K]` is encoded.

    Attributes:
        convolves: whether kernels of convolutions are held in this form, too; else they are expanded.
    """

    convolves: ClassVar[bool]

    def __call__(self, name: str, weight: Floats, multiplied: bool, looked_up: bool) -> Encoded:
        """Encodes a constant that takes part in a product, is looked rows up in, or both."""
        ...

    def held(self, use: Use, rows: int, numbers: int) -> int:
        """Bytes in the memory of a session: see `tprune.runtimes.runtime.Holding`."""
        ...


@dataclass(frozen=True)
class DynamicWeight:
    """int8 with a scale a row. What is looked up is stored by rows, all else transposed, ready for `MatMulInteger`."""

    name: str
    arrays: Arrays
    front: Sequence[Node]
    precision: str = "int8"

    @staticmethod
    def of(name: str, weight: Floats, multiplied: bool, looked_up: bool) -> DynamicWeight:
        """See `Form`."""
        integers, scales = per_row(weight, pairs=multiplied)
        if not looked_up:
            arrays = {f"{name}.int8": np.ascontiguousarray(integers.T), f"{name}.scale": scales}
            return DynamicWeight(name, arrays, ())
        rows = {f"{name}.rows": integers, f"{name}.row_scale": scales[:, None]}
        if not multiplied:
            return DynamicWeight(name, rows, ())
        front = [
            make_node("Transpose", [f"{name}.rows"], [f"{name}.int8"], perm=[1, 0]),
            make_node("Squeeze", [f"{name}.row_scale", f"{name}.axis"], [f"{name}.scale"]),
        ]
        return DynamicWeight(name, rows | {f"{name}.axis": np.array([1])}, front)

    def linear(self, site: Linear) -> list[Node]:
        """See `Encoded`."""
        x, y = site.node.input[0], site.output
        last = f"{y}.product" if site.bias else y
        nodes = [
            make_node("DynamicQuantizeLinear", [x], [f"{x}.uint8", f"{x}.scale", f"{x}.zero"]),
            make_node("MatMulInteger", [f"{x}.uint8", f"{self.name}.int8", f"{x}.zero"], [f"{y}.integers"]),
            make_node("Cast", [f"{y}.integers"], [f"{y}.floats"], to=TensorProto.FLOAT),
            make_node("Mul", [f"{x}.scale", f"{self.name}.scale"], [f"{y}.scales"]),
            make_node("Mul", [f"{y}.floats", f"{y}.scales"], [last]),
        ]
        return [*nodes, make_node("Add", [last, site.bias], [y])] if site.bias else nodes

    def lookup(self, site: Lookup) -> list[Node]:
        """See `Encoded`."""
        numbers, y = site.node.input[1], site.node.output[0]
        return [
            make_node("Gather", [f"{self.name}.rows", numbers], [f"{y}.int8"], axis=0),
            make_node("Cast", [f"{y}.int8"], [f"{y}.floats"], to=TensorProto.FLOAT),
            make_node("Gather", [f"{self.name}.row_scale", numbers], [f"{y}.scales"], axis=0),
            make_node("Mul", [f"{y}.floats", f"{y}.scales"], [y]),
        ]


@dataclass(frozen=True)
class Blocks:
    """Settings of `MatMulNBits`: bits, the largest block, and what it computes in. See `BlockWeight`."""

    precision: str
    bits: int
    most: int
    accuracy: int


@dataclass(frozen=True)
class BlockWeight:
    """Blocks of 8 or 4 bits, each with a scale, for `MatMulNBits` and `GatherBlockQuantized`."""

    name: str
    arrays: Arrays
    front: Sequence[Node]
    shape: tuple[int, int]
    block: int
    settings: Blocks

    @staticmethod
    def of(blocks: Blocks, name: str, weight: Floats, multiplied: bool, looked_up: bool) -> BlockWeight:
        """See `Form`."""
        rows, width = weight.shape
        block = block_size(width, blocks.most)
        integers, scales = in_blocks(weight, blocks.bits, block)
        arrays: dict[str, Any] = {f"{name}.scale": scales}
        front = []
        if not looked_up:
            arrays[f"{name}.blocks"] = integers
        else:
            arrays[f"{name}.rows"] = integers.reshape(rows, -1)
            if multiplied:
                arrays[f"{name}.shape"] = np.array(integers.shape)
                front = [make_node("Reshape", [f"{name}.rows", f"{name}.shape"], [f"{name}.blocks"])]
            if width % block:
                ends = {"start": 0, "width": width, "last": -1}
                arrays |= {f"{name}.{end}": np.array([value]) for end, value in ends.items()}
        return BlockWeight(name, arrays, front, (rows, width), block, blocks)

    @property
    def precision(self) -> str:
        """In the report."""
        return self.settings.precision

    def linear(self, site: Linear) -> list[Node]:
        """See `Encoded`."""
        y, apart = site.output, bool(site.bias) and not site.vector
        last = f"{y}.product" if apart else y
        inputs = [site.node.input[0], f"{self.name}.blocks", f"{self.name}.scale"]
        if site.vector:
            inputs += ["", "", site.bias]
        rows, width = self.shape
        sizes = {"N": rows, "K": width, "bits": self.settings.bits, "block_size": self.block}
        accuracy = self.settings.accuracy
        product = make_node("MatMulNBits", inputs, [last], domain=CONTRIB, **sizes, accuracy_level=accuracy)
        return [product, make_node("Add", [last, site.bias], [y])] if apart else [product]

    def lookup(self, site: Lookup) -> list[Node]:
        """See `Encoded`."""
        y, whole = site.node.output[0], self.shape[1] % self.block == 0
        sizes = {"gather_axis": 0, "quantize_axis": 1, "bits": self.settings.bits, "block_size": self.block}
        inputs, found = [f"{self.name}.rows", site.node.input[1], f"{self.name}.scale"], y if whole else f"{y}.filled"
        node = make_node("GatherBlockQuantized", inputs, [found], domain=CONTRIB, **sizes)
        ends = [f"{self.name}.{end}" for end in ("start", "width", "last")]
        return [node] if whole else [node, make_node("Slice", [found, *ends], [y])]


@dataclass(frozen=True)
class ExpandedWeight:
    """int8 with a scale a row (or output channel), multiplied out when a session opens."""

    name: str
    arrays: Arrays
    front: Sequence[Node]
    precision: str = "int8-weights"

    @staticmethod
    def of(name: str, weight: Floats, multiplied: bool, looked_up: bool) -> ExpandedWeight:
        """See `Form`."""
        integers, scales = per_row(weight, pairs=False)
        scales = scales.reshape(-1, *[1] * (weight.ndim - 1))
        front = [
            make_node("Cast", [f"{name}.int8"], [f"{name}.floats"], to=TensorProto.FLOAT),
            make_node("Mul", [f"{name}.floats", f"{name}.scale"], [f"{name}.expanded"]),
        ]
        return ExpandedWeight(name, {f"{name}.int8": integers, f"{name}.scale": scales}, front)

    def linear(self, site: Linear) -> list[Node]:
        """See `Encoded`."""
        x, y, weight = site.node.input[0], site.output, f"{self.name}.expanded"
        if site.node.op_type == "Gemm":
            return [make_node("Gemm", [x, weight, *([site.bias] if site.bias else [])], [y], transB=1)]
        turned, last = f"{weight}.turned", f"{y}.product" if site.bias else y
        nodes = [make_node("Transpose", [weight], [turned], perm=[1, 0]), make_node("MatMul", [x, turned], [last])]
        return [*nodes, make_node("Add", [last, site.bias], [y])] if site.bias else nodes

    def lookup(self, site: Lookup) -> list[Node]:
        """See `Encoded`."""
        return [make_node("Gather", [f"{self.name}.expanded", site.node.input[1]], [site.node.output[0]], axis=0)]

    def convolution(self, site: Convolution) -> list[Node]:
        """The convolution with what is multiplied out."""
        node = type(site.node)()
        node.CopyFrom(site.node)
        node.input[1] = f"{self.name}.expanded"
        return [node]


BLOCKS_OF_8 = Blocks("int8-blocks", bits=8, most=128, accuracy=4)
BLOCKS_OF_4 = Blocks("int4-weights", bits=4, most=32, accuracy=4)


@dataclass(frozen=True)
class Dynamic:
    """int8 weights and activations, for batches of any size. See `Form`."""

    convolves: ClassVar[bool] = False

    def __call__(self, name: str, weight: Floats, multiplied: bool, looked_up: bool) -> Encoded:
        """See `DynamicWeight`."""
        return DynamicWeight.of(name, weight, multiplied, looked_up)

    def held(self, use: Use, rows: int, numbers: int) -> int:
        """A byte a number and a scale a row, for each copy."""
        return _copies(use) * (numbers + WHOLE * rows)


@dataclass(frozen=True)
class Calibrated(Dynamic):
    """int8 weights and activations with constant scales: see `tprune.runtimes.onnxruntime.static`."""

    convolves: ClassVar[bool] = True


@dataclass(frozen=True)
class InBlocks:
    """Blocks for single rows, as in greedy decoding at batch 1; what is looked rows up in has 8-bit ones. See `Form`.

    Attributes:
        blocks: of what is only multiplied.
    """

    blocks: Blocks
    convolves: ClassVar[bool] = False

    def __call__(self, name: str, weight: Floats, multiplied: bool, looked_up: bool) -> Encoded:
        """See `BlockWeight`."""
        return BlockWeight.of(BLOCKS_OF_8 if looked_up else self.blocks, name, weight, multiplied, looked_up)

    def held(self, use: Use, rows: int, numbers: int) -> int:
        """The bits of each copy, and a scale for each of the largest blocks."""
        blocks = BLOCKS_OF_8 if Use.LOOKED_UP in use else self.blocks
        return _copies(use) * numbers * blocks.bits // 8 + WHOLE * (numbers // blocks.most)


@dataclass(frozen=True)
class Expanded:
    """int8 in the file, fp32 in memory. See `Form`."""

    convolves: ClassVar[bool] = True

    def __call__(self, name: str, weight: Floats, multiplied: bool, looked_up: bool) -> ExpandedWeight:
        """See `ExpandedWeight`."""
        return ExpandedWeight.of(name, weight, multiplied, looked_up)

    def held(self, use: Use, rows: int, numbers: int) -> int:
        """All numbers in single precision."""
        return WHOLE * numbers


def _copies(use: Use) -> int:
    """An embedding that is multiplied, too, is held as rows and transposed."""
    return 1 + (use == Use.LOOKED_UP | Use.MULTIPLIED)


dynamic, expanded = Dynamic(), Expanded()
blocks_of_8, blocks_of_4 = InBlocks(BLOCKS_OF_8), InBlocks(BLOCKS_OF_4)
FORMS: Mapping[str, Form] = {"int8": dynamic, "int8-weights": expanded, "int4-weights": blocks_of_4}
"""The form of each precision that has one form alone."""
CALIBRATED: Mapping[str, Form] = {"int8-static": Calibrated()}
"""Of precisions whose graphs `static` makes, what they hold in memory."""
MIXED: Mapping[str, tuple[Form, Form]] = {"int8-greedy": (dynamic, blocks_of_8)}
"""Of other precisions the form of graphs that are run once, and that of graphs that are run step by step."""


def form_of(precision: str, graph: Signature) -> Form:
    """The form of the constants of a graph.

    Args:
        precision: one of `FORMS` or `MIXED`.
        graph: whose states tell that it is run step by step.

    Example:
        >>> form_of("int8-greedy", Signature("decoder", (), (), states=(("past", "present"),))) is blocks_of_8
        True
    """
    return MIXED[precision][bool(graph.states)] if precision in MIXED else FORMS[precision]


def held(precision: str, use: Use, rows: int, numbers: int) -> int:
    """Bytes that a matrix takes in memory; where graphs have different forms, that of the graph that is run in steps.

    Args:
        precision: one of `FORMS`, `CALIBRATED` or `MIXED`.
        use: what is done with the matrix.
        rows: how many outputs it has.
        numbers: how many it holds.

    Example:
        >>> held("int8", Use.MULTIPLIED, 4, 40), held("int8-weights", Use.MULTIPLIED, 4, 40)
        (56, 160)
    """
    form = MIXED[precision][1] if precision in MIXED else {**FORMS, **CALIBRATED}[precision]
    return (form if form.convolves or Use.CONVOLVED not in use else expanded).held(use, rows, numbers)
