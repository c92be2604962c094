"""Labels: which class is expected of an output, and the loss of what a model says instead."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # as transformers has it: an output of which nothing is expected


def label_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy of an output (nats), in single precision; labels `-100` are left out.

    Args:
        logits: (..., classes).
        labels: (...).
        smoothing: the share of the target that all classes get alike.

    Example:
        >>> import torch
        >>> round(float(label_loss(torch.zeros(1, 2, 4), torch.tensor([[3, IGNORED]]))), 4)  # log 4
        1.3863
    """
    return F.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(), labels.flatten(), ignore_index=IGNORED, label_smoothing=smoothing
    )
