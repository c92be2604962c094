"""In which numbers an exported model computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tprune.support.errors import InputError


@dataclass(frozen=True)
class Numbers:
    """What a name of a precision stands for.

    Attributes:
        weights: bits of a weight of a product.
        activations: bits of what it is multiplied by.
        summary: for help texts and tables.
        calibrated: whether the scales of activations are constants, which are measured on calibration inputs.
    """

    weights: int
    activations: int
    summary: str
    calibrated: bool = False


NUMBERS: Mapping[str, Numbers] = {
    "fp32": Numbers(32, 32, "single precision, as trained"),
    "bf16": Numbers(16, 16, "bfloat16 weights and activations"),
    "int8": Numbers(8, 8, "8-bit weights (a scale per output channel) and activations (scaled as they come)"),
    "int8-static": Numbers(8, 8, "int8 whose activations have constant scales, measured on calibration inputs", True),
    "int8-greedy": Numbers(8, 8, "int8 whose decoder steps are fastest for one sentence at a time, without beams"),
    "int8-weights": Numbers(8, 32, "8-bit weights, single-precision arithmetic"),
    "int4-weights": Numbers(4, 32, "4-bit weights in blocks, single-precision arithmetic"),
    "fp16": Numbers(16, 16, "half precision weights and activations"),
}


CALIBRATIONS: Mapping[str, str] = {"dynamic": "int8", "static": "int8-static"}
"""The precision of each way to scale the activations of int8: as they come, or by constants."""

AUTO = "auto"  # asks for int8 and fp32 in one model, as a budget shares them out


@dataclass(frozen=True)
class Precision:
    """In which numbers an exported model computes, as it stands in the artefact and in the keys of what is measured.

    Attributes:
        name: one of `NUMBERS`.
        exceptions: names of weights that stay in single precision all the same, sorted.

    Raises:
        InputError: a name that is not known, or exceptions from single precision.

    Example:
        >>> Precision("int8", ("lm_head.weight",)).suffix
        '-int8'
    """

    name: str = "fp32"
    exceptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in NUMBERS:
            raise InputError(f"precision {self.name!r}; expected one of {', '.join(NUMBERS)}")
        if self.exact and self.exceptions:
            raise InputError(f"{self.exceptions[0]} is to stay in fp32, which all weights do in precision fp32")
        object.__setattr__(self, "exceptions", tuple(sorted(set(self.exceptions))))

    @property
    def numbers(self) -> Numbers:
        """What the name stands for."""
        return NUMBERS[self.name]

    @property
    def exact(self) -> bool:
        """Whether it computes what single precision computes, but for rounding."""
        return self.name == "fp32"

    @property
    def suffix(self) -> str:
        """What it adds to the name of a folder: nothing for single precision."""
        return "" if self.exact else f"-{self.name}"

    def __str__(self) -> str:
        """Its name, and how many weights are excepted.

        Example:
            >>> str(Precision("int8", ("a", "b")))
            'int8 (2 weights in fp32)'
        """
        count = len(self.exceptions)
        return f"{self.name} ({count} weight{'s' * (count != 1)} in fp32)" if count else self.name


FP32, BF16 = Precision("fp32"), Precision("bf16")
INT8, INT8_WEIGHTS, INT4_WEIGHTS = Precision("int8"), Precision("int8-weights"), Precision("int4-weights")
INT8_STATIC = Precision("int8-static")
