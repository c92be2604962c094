"""Options of an export: the numbers that it computes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from tprune.cli.options.choices import Calibrations, Precisions
from tprune.cli.options.single import MaxInt8Loss
from tprune.cli.precisions import precision_of
from tprune.core.precision import INT8, Precision
from tprune.support.errors import OptionError

PLAIN = Precisions("fp32")


@dataclass(frozen=True)
class ExportNumbers:
    """The precision, and what is an exception from it."""

    PANEL: ClassVar[str] = "Precision"
    precision: Annotated[
        Precisions,
        typer.Option(
            "--precision",
            help="Precision of the exported model: fp32 computes as trained, int8 with 8-bit weights and activations, "
            "int8-static so too with activations scaled by constants (see --calibration), int8-greedy as int8 and "
            "fastest for single sentences without beams, int8-weights and int4-weights with smaller weights alone.",
        ),
    ] = PLAIN
    calibration: Annotated[
        Calibrations | None,
        typer.Option(
            "--calibration",
            help="Scales of the activations of --precision int8: dynamic takes them as they come, static has "
            "constants, measured on 256 inputs of the --valid data, and computes convolutions in integers (default: "
            "dynamic).",
        ),
    ] = None
    fp32: Annotated[
        list[str] | None,
        typer.Option("--fp32", metavar="<weight>", help="Weight that stays in fp32, by its name; repeat for several."),
    ] = None
    max_int8_loss: MaxInt8Loss = None

    @property
    def value(self) -> Precision:
        """What the options name together. Raises `OptionError` for options of another precision."""
        found = precision_of(self.precision.value, self.fp32 or (), self.calibration and self.calibration.value)
        if self.max_int8_loss is not None and found.name != INT8.name:
            raise OptionError(f"--max-int8-loss is for --precision int8, got {found.name}")
        return found
