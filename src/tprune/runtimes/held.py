"""How many bytes the weights of a model take in the memory of a runtime, by precision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tprune.core.precision import Precision
from tprune.counting.output_rows import spared_parameters
from tprune.runtimes.products import Use
from tprune.runtimes.roundable import rounded_in, rows_of, uses_of
from tprune.runtimes.runtime import Holding, runtime_named

WHOLE = 4  # bytes of a number in single precision, and of a scale


@dataclass(frozen=True)
class InMemory:
    """Weighs models: the bytes of their learned numbers while a runtime computes with them.

    What is rounded takes the bytes of its precision and a scale for each output; biases, norms and exceptions take
    four a number. Tables of positions count as rounded, though an encoder's are not. Rows of the output layer that an
    export leaves out do not count.

    Attributes:
        runtime: its name.
        precision: with the weights that stay in single precision, whole products of them
            (`tprune.runtimes.roundable.whole_products`).

    Example:
        >>> from torch import nn
        >>> from tprune.core.precision import FP32, INT8
        >>> net = nn.Linear(10, 4)  # four rows of ten numbers, four biases
        >>> InMemory("onnxruntime", FP32)(net), InMemory("onnxruntime", INT8)(net)
        (176, 72)
    """

    runtime: str
    precision: Precision

    def __call__(self, model: Any) -> int:
        """Bytes of a model, which may hold no values."""
        uses, rows, rounded = uses_of(model), rows_of(model), rounded_in(model, self.precision)
        found = 0
        rates: dict[int, float] = {}
        for name, parameter in model.named_parameters():
            numbers = parameter.numel()
            taken = self._rounded(uses[name], rows[name], numbers) if name in rounded else WHOLE * numbers
            rates[id(parameter)] = taken / max(1, numbers)
            found += taken * parameter.requires_grad
        if not (spared := spared_parameters(model)):
            return found
        return found - round(spared * rates[id(model.get_output_embeddings().weight)])

    def exempt(self, names: Iterable[str]) -> tuple[bool, ...]:
        """Which of these weights stay in single precision by name."""
        return tuple(name in self.precision.exceptions for name in names)

    def _rounded(self, use: Use, rows: int, numbers: int) -> int:
        runtime = runtime_named(self.runtime)
        if isinstance(runtime, Holding):
            return runtime.held(use, rows, numbers, self.precision)
        bits = self.precision.numbers.weights
        return numbers * bits // 8 + WHOLE * rows * (bits < 16)
