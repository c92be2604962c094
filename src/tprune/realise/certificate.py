"""The certificate: how far the realised model's logits are from the masked model's, on real inputs."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from tprune.core.known_tasks import task_of
from tprune.core.plan import Plan
from tprune.core.task import Batch, Task, decoded, first_difference
from tprune.families.registry import family_of
from tprune.realise.mask import masked
from tprune.support.errors import CertificateError

LIMITS = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 5e-3}


@dataclass(frozen=True)
class Certificate:
    """`max |masked − realised| / max |masked|` over logits.

    Attributes:
        forward: of one padded, teacher-forced batch.
        generation: of cached, step-by-step decoding of the same batch.
        steps: decoding steps compared.
        sentences: sentences in the batch.
        limit: what was allowed in the model's precision.
    """

    forward: float
    generation: float
    steps: int
    sentences: int
    limit: float

    def to_dict(self) -> dict[str, object]:
        """As it is written beside the weights."""
        return asdict(self)


@torch.no_grad()
def certify(
    model: nn.Module, plan: Plan, small: nn.Module, batch: Batch, steps: int = 20, task: Task | None = None
) -> Certificate:
    """Compares the realised model with the masked one.

    Args:
        model: the dense model the plan was made for.
        plan: after selection.
        small: what became of it.
        batch: real data of the task; of translation `input_ids`, `attention_mask` and `labels` of some sentences.
        steps: decoding steps with a cache, where the task decodes.
        task: what the model is for; the model's own if not given.

    Raises:
        CertificateError: the difference is larger than the precision explains; says where it begins.
    """
    reference, small, task = masked(model, plan).eval(), small.eval(), task or task_of(model)
    limit = max(LIMITS[next(model.parameters()).dtype], family_of(model).tolerance)

    def differs(expected: Tensor, got: Tensor) -> bool:
        return not _relative(expected, got) <= limit

    forward = _relative(*(task.run(each, batch).logits for each in (reference, small)))
    if not forward <= limit:
        where = first_difference(task, (reference, small), batch, differs)
        raise CertificateError(
            f"the realised model is {forward:.2g} off the masked one (at most {limit:g} allowed), {where}"
        )
    worst, done = 0.0, 0
    for expected, got in decoded(task, (reference, small), batch, steps):
        off, done = _relative(expected, got), done + 1
        if not off <= limit:
            raise CertificateError(
                f"the realised model is {off:.2g} off the masked one (at most {limit:g} allowed) at step {done} of "
                "cached generation, while the whole forward pass agrees: cache or positions"
            )
        worst = max(worst, off)
    return Certificate(forward, worst, done, len(next(iter(batch.values()))), limit)


def _relative(expected: Tensor, got: Tensor) -> float:
    if not bool(torch.isfinite(got).all()):
        return float("inf")
    return float((expected - got).abs().max() / expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny))
