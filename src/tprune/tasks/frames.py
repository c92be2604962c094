"""How many frames the convolutions of a model make of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Convolutions:
    """One after the other, without padding.

    Attributes:
        kernels: their sizes.
        strides: samples, or frames before, from one frame to the next.

    Example:
        >>> both = Convolutions((10, 3), (5, 2))
        >>> both.frames(100), both.samples(9)
        (9, 100)
    """

    kernels: Sequence[int]
    strides: Sequence[int]

    @staticmethod
    def of(model: nn.Module) -> Convolutions:
        """Those of a model, by its configuration."""
        config: Any = model.config
        return Convolutions(tuple(config.conv_kernel), tuple(config.conv_stride))

    @property
    def stride(self) -> int:
        """Samples from one frame to the next."""
        return prod(self.strides)

    def frames(self, samples: int) -> int:
        """Of so many samples; below 1 where they are too few."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def frames_of(self, samples: Tensor) -> Tensor:
        """As `frames`, of many."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def samples(self, frames: int) -> int:
        """The fewest that so many frames are made of."""
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides), strict=True):
            frames = (frames - 1) * stride + kernel
        return frames
