"""The tasks by name, and which one a model is for. Nothing heavy is imported before one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tprune.support.errors import InputError
from tprune.support.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from tprune.core.task import Task

TASKS: Registry[Task] = Registry(
    "task",
    "tprune.tasks",
    {
        "translation": "tprune.tasks.translation.task:TRANSLATION",
        "language-modelling": "tprune.tasks.language_modelling:LANGUAGE_MODELLING",
        "image-classification": "tprune.tasks.image_classification:IMAGE_CLASSIFICATION",
        "text-classification": "tprune.tasks.text_classification:TEXT_CLASSIFICATION",
    },
)


def task_of(model: nn.Module) -> Task:
    """The task that a model is made for. Raises `InputError` naming the known ones."""
    for task in TASKS.values():
        if task.matches(model):
            return task
    raise InputError(f"{type(model).__name__} is made for no known task; known are: {', '.join(TASKS)}")
