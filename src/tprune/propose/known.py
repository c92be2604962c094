"""What a trace knows of the tensors that it has seen: their axes, and the weights that they were made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from tprune.propose.axes import Axis, fresh


@dataclass(frozen=True)
class TracedProduct:
    """A product of two tensors.

    Attributes:
        module: where it is computed.
        left: the weights that the first operand was made of since the last linear map, by name.
        right: those of the second; of a linear map the weight itself.
        linear: whether it is a linear map, whose second operand is a weight.
    """

    module: str
    left: frozenset[str]
    right: frozenset[str]
    linear: bool


@dataclass
class Known:
    """What is known of all tensors seen so far.

    Attributes:
        names: of the model's tensors, transposed or not, by identity.
        where: the module that runs now.
        axes: of tensors, by identity.
        made: the weights of linear maps that a tensor was made of, by identity.
        products: in the order in which they were computed.
        strange: by operator, why axes are not followed through it, in words.
    """

    names: dict[int, str]
    where: str = ""
    axes: dict[int, list[Axis]] = field(default_factory=dict)
    made: dict[int, frozenset[str]] = field(default_factory=dict)
    products: list[TracedProduct] = field(default_factory=list)
    strange: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The module that runs now, in words."""
        return self.where or "the model's own forward"

    def of(self, tensor: Tensor) -> list[Axis]:
        """The axes of a tensor; new ones for a tensor that was not seen before."""
        found = self.axes.get(id(tensor))
        if found is None or len(found) != tensor.ndim:
            found = self.axes[id(tensor)] = [fresh(size) for size in tensor.shape]
        return found

    def from_(self, tensor: Tensor) -> frozenset[str]:
        """The weights that it was made of."""
        return self.made.get(id(tensor), frozenset())

    def named(self, tensor: Tensor) -> str:
        """The name of a tensor of the model, transposed or not; empty for another."""
        return self.names.get(id(tensor), "")

    def product(self, a: Tensor, b: Tensor, out: Tensor, weight: str) -> None:
        """Enters a product and what its result was made of."""
        right = frozenset({weight}) if weight else self.from_(b)
        self.products.append(TracedProduct(self.where, self.from_(a), right, bool(weight)))
        self.made[id(out)] = right if weight else self.from_(a) | right
