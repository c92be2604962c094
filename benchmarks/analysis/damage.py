"""Ground truth for `run.py`: what it really costs to cut a share of one coupling's groups and refit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tprune.analysis.ablation import without_smallest
from tprune.core.coupling import Groups
from tprune.core.labels import label_loss
from tprune.tasks.batches import TokenBatches
from tprune.tasks.translation.encoding import Collate, EncodedPairs

Batch = dict[str, Tensor]
KINDS = ("ffn", "heads", "qk", "vo")


@dataclass(frozen=True)
class Refit:
    """How a model is refitted: the same sentences in the same order for every cut of one seed."""

    steps: int = 40
    tokens: int = 1000
    lr: float = 5e-4
    warmup: int = 5
    smoothing: float = 0.1

    def rate(self, step: int) -> float:
        """A short linear warm-up, then linearly to zero, so that what is left of the noise is small."""
        return self.lr * min((step + 1) / self.warmup, (self.steps - step) / max(1, self.steps - self.warmup))


def batches_of(data: EncodedPairs, pad: int, tokens: int, count: int | None, seed: int = 0) -> list[Batch]:
    """Padded batches of about `tokens` tokens; all sentences once where no count is given."""
    collate = Collate(pad)
    return [collate([data[i] for i in rows]) for rows in TokenBatches(data.lengths, tokens, count, seed)]


def refitted(
    dense: Any, how: Refit, batches: Sequence[Batch], seed: int, bind: Callable[[nn.Module], Groups] | None = None
) -> Any:
    """A copy of the model after `how.steps` steps; with a coupling its smallest groups are zero from first to last."""
    model = copy.deepcopy(dense).train()
    torch.manual_seed(seed)
    np.random.seed(seed)
    groups = bind(model) if bind else None
    keep = without_smallest(groups.norms.detach()).float() if groups else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=how.lr, betas=(0.9, 0.98), weight_decay=0.0)
    if groups is not None and keep is not None:
        groups.scale_(keep)
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = how.rate(step)
        optimizer.zero_grad()
        torch.autograd.backward(label_loss(model(**batch).logits, batch["labels"], how.smoothing))
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if groups is not None and keep is not None:
            groups.scale_(keep)
    return model.eval()
