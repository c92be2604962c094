"""Mask variables on heads and FFN units, and the loss's gradient in them, sentence by sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.job import Job
from tprune.core.coupling import Coupling
from tprune.core.labels import IGNORED
from tprune.core.plan import Plan
from tprune.tasks.batches import TokenBatches
from tprune.tasks.translation.encoding import Collate


@contextmanager
def masked_by(model: nn.Module, couplings: Sequence[Coupling], masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Multiplies what each head or unit hands on to its consumer by its mask, `(groups,)` or `(batch, groups)`.

    A mask of 0 takes the group out of the model, as cutting it does.
    """
    handles = []
    for coupling in couplings:
        reader = coupling.views[-1].param.removesuffix(".weight")  # out_proj of heads, fc2 of units

        def scale(_: nn.Module, inputs: tuple[Tensor], name: str = coupling.name) -> tuple[Tensor]:
            (x,) = inputs
            mask = masks[name].repeat_interleave(x.shape[-1] // masks[name].shape[-1], -1)
            return (x * (mask if mask.ndim == 1 else mask[:, None]),)

        handles.append(model.get_submodule(reader).register_forward_pre_hook(scale))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def sentence_gradients(model: Any, couplings: Sequence[Coupling], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """∂L(x)/∂m of every mask at 1, one row a sentence x: `(sentences, groups)`.

    L is the sentence's negative log-likelihood.
    """
    sentences = len(batch["input_ids"])
    sizes = {c.name: model.get_submodule(c.views[-1].param.removesuffix(".weight")).in_features for c in couplings}
    groups = {c.name: c.views[-1].structure.sizes.get("h", sizes[c.name]) for c in couplings}
    dtype = next(model.parameters()).dtype
    masks = {name: torch.ones(sentences, n, dtype=dtype, requires_grad=True) for name, n in groups.items()}
    with masked_by(model, couplings, masks):
        logits = model(**batch).logits
    loss = F.cross_entropy(
        logits.flatten(0, 1).float(), batch["labels"].flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return dict(zip(masks, torch.autograd.grad(loss, list(masks.values())), strict=True))


def calibration_gradients(job: Job, plan: Plan) -> tuple[dict[str, Tensor], float]:
    """The same over `job.calibration` batches of training sentences, and the units that took."""
    data, stage = job.material.train, job.recovery.stage
    collate = Collate(job.material.pad)
    found: dict[str, list[Tensor]] = {}
    for rows in TokenBatches(data.lengths, stage.batch_tokens, job.calibration, job.seed):
        for name, gradient in sentence_gradients(job.dense, plan.couplings, collate([data[i] for i in rows])).items():
            found.setdefault(name, []).append(gradient)
    return {name: torch.cat(rows) for name, rows in found.items()}, 3.0 * job.calibration
