"""How many multiplications each weight of a model stands for, as far as prices need it before anything is timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from tprune.core.known_tasks import task_of
from tprune.core.task import Task
from tprune.tasks.one_pass import evaluating

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def products_of(model: nn.Module, task: Task | None = None) -> dict[str, int]:
    """Multiplications by parameter.

    Of matrices for one position, as every position multiplies with all of them; in a model with convolutions, whose
    kernels are applied at more positions than others, for the whole example of its task. Vectors count nothing.
    """
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.dim() >= 2}
    if all(p.dim() <= 2 for p in model.parameters()):
        return sizes
    positions = _positions(model, task or task_of(model))
    return {name: size * positions.get(name, 1) for name, size in sizes.items()}


def _positions(model: nn.Module, task: Task) -> Mapping[str, int]:
    """At how many positions of the task's example each weight is applied."""
    found: dict[str, int] = {}

    def count(name: str, kernel: bool) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            shape = output.shape[2:] if kernel else output.shape[1:-1]
            found[f"{name}.weight"] = max(1, int(torch.Size(shape).numel()))

        return hook

    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, (*CONVOLUTIONS, nn.Linear))]
    hooks = [m.register_forward_hook(count(name, isinstance(m, CONVOLUTIONS))) for name, m in layers]
    try:
        with evaluating(model):
            task.run(model, task.example(model))
    finally:
        for hook in hooks:
            hook.remove()
    return found
