"""`tprune export`: inputs that static int8 is calibrated on, and recordings that an export is checked on."""

from __future__ import annotations

from typing import Any

from tprune.cli.data_sets import splits_of
from tprune.cli.given import Given
from tprune.core.data import spread
from tprune.core.task import Batch, Task
from tprune.recipe.schema import Data
from tprune.runtimes.calibration import calibration_batches
from tprune.support.errors import InputError
from tprune.tasks.padding import pad_of

HEARD = 4  # recordings that an export is checked on


def inputs_for(task: Task, model: Any, where: str, given: Given) -> list[Batch]:
    """Calibration inputs of the data that options name.

    Raises:
        InputError: no data, too little, or data that does not fit the model.
    """
    if not given.files:
        raise InputError("static int8 measures activations on inputs of the model's task: give --valid")
    valid = splits_of(task.name, given, Data(), ("valid",)).valid
    return calibration_batches(task, model, task.processor(where), valid)


def recordings_for(task: Task, model: Any, where: str, given: Given) -> list[Batch]:
    """A batch of a few recordings of the data that options name.

    Raises:
        InputError: data that cannot be read.
    """
    data = splits_of(task.name, given, Data(), ("valid",)).valid
    some = task.encode(data.picked(spread(len(data), HEARD)), task.processor(where), model)
    return [task.collate([some[index] for index in range(len(some))], pad_of(model))]
