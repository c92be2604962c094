"""How large a model is: parameters, bytes, and multiply-accumulates of a sentence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tprune.counting.output_rows import spared_parameters, spared_products


@dataclass(frozen=True)
class Size:
    """Sizes of one model as an export has it; tied weights count once.

    Rows of the output layer that an export leaves out, because nothing ever writes their tokens, count nowhere: see
    `tprune.counting.output_rows`.

    Attributes:
        parameters: learned numbers.
        bytes: of these, in the model's own precision.
        macs: multiply-accumulates to encode a source sentence and decode its translation step by step with a cache.
    """

    parameters: int
    bytes: int
    macs: int

    def to_dict(self) -> dict[str, int]:
        """As in results.json."""
        return asdict(self)


@torch.no_grad()
def size(model: Any, source: int = 25, target: int = 25) -> Size:
    """Counts a model's parameters, bytes and MACs (source and target lengths in tokens, batch 1).

    The MACs are those of one teacher-forced pass: the matrix products of cached decoding, attention over the whole target.

    Example:
        >>> from tprune.tasks.translation.encoding import MarianSize, new_model
        >>> size(new_model(MarianSize(16, (1, 1), 2, 32, 20, 0.0, 32), 20)).parameters
        5888
    """
    parameters = {id(p): p for p in model.parameters() if p.requires_grad}.values()
    spared, one = spared_parameters(model), next(model.parameters()).element_size()
    count = sum(p.numel() for p in parameters) - spared
    width = sum(p.numel() * p.element_size() for p in parameters) - spared * one
    device = next(model.parameters()).device
    if (
        device.type == "meta"
    ):  # attention masks are looked into, so a pass needs memory; which values it holds is all one
        model, device = model.to_empty(device="cpu"), torch.device("cpu")
        for buffer in model.buffers():
            buffer.zero_()  # but indices must point somewhere
    limit = int(model.config.max_position_embeddings)
    source, target = min(source, limit), min(target, limit)
    training = model.training
    model.eval()
    # attention as plain matrix products: of the fused kernels, which depend on sizes and device, only some are counted
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(
            input_ids=torch.zeros(1, source, dtype=torch.long, device=device),
            attention_mask=torch.ones(1, source, dtype=torch.long, device=device),
            decoder_input_ids=torch.zeros(1, target, dtype=torch.long, device=device),
            use_cache=False,
        )
    model.train(training)
    return Size(count, width, counter.get_total_flops() // 2 - spared_products(model, target))


def size_on_paper(build: Any, **lengths: int) -> Size:
    """The size of the model that `build` makes, without the cost of giving it values."""
    with torch.device("meta"):
        model = build()
    return size(model, **lengths)
