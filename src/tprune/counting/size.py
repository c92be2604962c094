"""How large a model is: parameters, bytes, and multiply-accumulates of one input."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tprune.core.known_tasks import task_of
from tprune.core.task import Task
from tprune.counting.output_rows import spared_parameters, spared_products


@dataclass(frozen=True)
class Size:
    """Sizes of one model as an export has it; tied weights count once.

    Rows of the output layer that an export leaves out, because nothing ever writes their tokens, count nowhere: see
    `tprune.counting.output_rows`.

    Attributes:
        parameters: learned numbers.
        bytes: of these, in the model's own precision.
        macs: multiply-accumulates for one input of the task; of a translation, to encode a sentence and decode step by
            step with a cache.
    """

    parameters: int
    bytes: int
    macs: int

    def to_dict(self) -> dict[str, int]:
        """As in results.json."""
        return asdict(self)


@torch.no_grad()
def size(model: nn.Module, task: Task | None = None) -> Size:
    """Counts a model's parameters, bytes and MACs.

    The MACs are those of one pass over the task's example; of a model that generates, teacher-forced: the matrix
    products of cached decoding, attention over the whole target.

    Args:
        model: dense or pruned.
        task: whose example is counted; the model's own if not given.

    Example:
        >>> from tprune.tasks.translation.encoding import MarianSize, new_model
        >>> size(new_model(MarianSize(16, (1, 1), 2, 32, 20, 0.0, 32), 20)).parameters
        5888
    """
    parameters = {id(p): p for p in model.parameters() if p.requires_grad}.values()
    spared, one = spared_parameters(model), next(model.parameters()).element_size()
    count = parameters_of(model)
    width = sum(p.numel() * p.element_size() for p in parameters) - spared * one
    if next(model.parameters()).device.type == "meta":
        # attention masks are looked into, so a pass needs memory; which values it holds is all one
        model = copy.deepcopy(model).to_empty(device="cpu")
        for buffer in model.buffers():
            buffer.zero_()  # but indices must point somewhere
    task, training = task or task_of(model), model.training
    model.eval()
    # attention as plain matrix products: of the fused kernels, which depend on sizes and device, only some are counted
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        outputs = task.run(model, task.example(model)).logits.shape[:-1].numel()
    model.train(training)
    return Size(count, width, counter.get_total_flops() // 2 - spared_products(model, outputs))


def parameters_of(model: nn.Module) -> int:
    """How many learned numbers a model has as an export has it; see `Size`."""
    found = {id(p): p.numel() for p in model.parameters() if p.requires_grad}
    return sum(found.values()) - spared_parameters(model)


def size_on_paper(build: Callable[[], nn.Module], task: Task | None = None) -> Size:
    """The size of the model that `build` makes, without the cost of giving it values."""
    with torch.device("meta"):
        model = build()
    return size(model, task)
