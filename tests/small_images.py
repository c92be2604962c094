"""Images of two classes, and a small ResNet that is no model of transformers."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.other_tasks.resnet import ResNet
from tprune.data.image_processor import ImageProcessor
from tprune.data.images import LabeledImages

PROCESSOR = ImageProcessor((0.5,) * 3, (0.5,) * 3)


def images(count: int = 16, size: int = 8) -> LabeledImages:
    """Dark ones and bright ones."""
    chance = np.random.default_rng(0)
    pixels = [chance.integers(0, 100, (size, size, 3)) + 150 * (i % 2) for i in range(count)]
    return LabeledImages(
        tuple(each.astype(np.uint8) for each in pixels), tuple(str(i % 2) for i in range(count)), "squares"
    )


def resnet() -> ResNet:
    torch.manual_seed(0)
    return ResNet(1, 4, 2).eval()
