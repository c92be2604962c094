"""Images, decoded and ready to be normalised for a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tprune.data.image_processor import ImageProcessor


@dataclass(frozen=True)
class Images:
    """Images and their classes; with a processor as bytes, which it normalises when they are asked for.

    Attributes:
        pixels: (images, channels, height, width).
        classes: the number of each one's class.
        names: of the classes, by their numbers.
        inputs: where each was read, for pages.
        processor: makes of bytes what the model takes.
        notes: none; all images are made to fit.
    """

    pixels: Tensor
    classes: tuple[int, ...]
    names: Mapping[int, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    processor: ImageProcessor | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: int) -> dict[str, Any]:
        found = self.pixels[index]
        if self.processor is not None:
            found = torch.from_numpy(self.processor.normalised(found.numpy()))
        return {"pixel_values": found, "labels": self.classes[index]}

    @property
    def lengths(self) -> np.ndarray:
        """One for each: all images are alike."""
        return np.ones(len(self), dtype=int)
