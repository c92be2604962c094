"""`tprune export --calibration`: the inputs that it needs."""

from __future__ import annotations

from typing import Any

from tprune.cli.data_sets import splits_of
from tprune.cli.given import Given
from tprune.core.task import Batch, Task
from tprune.recipe.schema import Data
from tprune.runtimes.calibration import calibration_batches
from tprune.support.errors import InputError


def inputs_for(task: Task, model: Any, where: str, given: Given) -> list[Batch]:
    """Calibration inputs of the data that options name.

    Raises:
        InputError: no data, too little, or data that does not fit the model.
    """
    if not given.files:
        raise InputError("static int8 measures activations on inputs of the model's task: give --valid")
    valid = splits_of(task.name, given, Data(), ("valid",)).valid
    return calibration_batches(task, model, task.processor(where), valid)
