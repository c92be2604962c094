"""ResNet-20 and its siblings for images of 32 x 32 (He et al., 2016), whose shortcuts have no parameters.

No model of transformers: the class needs torch and huggingface_hub alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions with batch norms around a shortcut that drops every other pixel and pads channels with zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """`[N, inputs, H, W]` to `[N, outputs, H / stride, W / stride]`."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.more or self.stride > 1:
            half = self.more // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.more - half))
        return F.relu(y + x)


class ResNet(nn.Module, PyTorchModelHubMixin):
    """A ResNet of three stages; `blocks` in each, 3 for ResNet-20."""

    def __init__(self, blocks: int = 3, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        sizes = ((width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2))
        for number, (inputs, outputs, stride) in enumerate(sizes, start=1):
            first = Block(inputs, outputs, stride)
            rest = (Block(outputs, outputs, 1) for _ in range(blocks - 1))
            setattr(self, f"layer{number}", nn.Sequential(first, *rest))
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Images `[N, 3, 32, 32]`, normalised, to logits `[N, classes]`."""
        x = F.relu(self.bn1(self.conv1(pixel_values)))
        for stage in (self.layer1, self.layer2, self.layer3):
            x = stage(x)
        logits: Tensor = self.linear(torch.mean(x, (2, 3)))
        return logits
