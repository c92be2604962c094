"""`tprune export --calibration`: the precision that it stands for, and the inputs that it needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tprune.cli.data_sets import splits_of
from tprune.cli.given import Given
from tprune.core.precision import CALIBRATIONS, INT8, Precision
from tprune.core.task import Batch, Task
from tprune.recipe.schema import Data
from tprune.runtimes.calibration import calibration_batches
from tprune.support.errors import InputError, OptionError


def precision_of(name: str, exceptions: Iterable[str], calibration: str | None) -> Precision:
    """The precision that `--precision`, `--fp32` and `--calibration` name together.

    Raises:
        OptionError: a calibration of another precision than int8.

    Example:
        >>> precision_of("int8", (), "static").name
        'int8-static'
    """
    if calibration is None:
        return Precision(name, tuple(exceptions))
    if name not in (INT8.name, CALIBRATIONS[calibration]):
        raise OptionError(f"--calibration {calibration} is for --precision int8, got {name}")
    return Precision(CALIBRATIONS[calibration], tuple(exceptions))


def inputs_for(task: Task, model: Any, where: str, given: Given) -> list[Batch]:
    """Calibration inputs of the data that options name.

    Raises:
        InputError: no data, too little, or data that does not fit the model.
    """
    if not given.files:
        raise InputError("static int8 measures activations on inputs of the model's task: give --valid")
    valid = splits_of(task.name, given, Data(), ("valid",)).valid
    return calibration_batches(task, model, task.processor(where), valid)
