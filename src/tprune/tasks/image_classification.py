"""Image classification: one class for an image. A batch has `pixel_values` (batch, channels, height, width) and `labels`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tprune.core.model import Outputs
from tprune.core.task import Batch, States
from tprune.tasks.classification import Classification
from tprune.tasks.one_stack import is_for


@dataclass(frozen=True)
class Images:
    """Images as float tensors, ready for the model, and their classes."""

    pixels: Tensor
    classes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"pixel_values": self.pixels[index], "labels": self.classes[index]}

    @property
    def lengths(self) -> np.ndarray:
        """One for each: all images are alike."""
        return np.ones(len(self), dtype=int)


@dataclass(frozen=True)
class Said:
    """The outputs of a model that returns its logits alone."""

    logits: Tensor


@dataclass(frozen=True)
class ImageClassification(Classification):
    """An image to one of several classes.

    Attributes:
        channels: of an image.
        size: its height and width in pixels, of the example whose operations are counted.
    """

    channels: int = 3
    size: int = 32
    name: ClassVar[str] = "image-classification"

    def matches(self, model: nn.Module) -> bool:
        """Whether it is of transformers' classes for this, or no model of transformers and begins with a convolution of images."""
        if getattr(model, "config", None) is not None and hasattr(model, "base_model_prefix"):
            return is_for(model, "ForImageClassification")
        first = next((m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)), None)
        return isinstance(first, nn.Conv2d) and first.in_channels == self.channels

    def example(self, model: nn.Module) -> Batch:
        """One image."""
        device = next(model.parameters()).device
        return {**self._images(model, 1), "labels": torch.zeros(1, dtype=torch.long, device=device)}

    def random(self, model: nn.Module) -> Batch:
        """Three random images."""
        batch = self._images(model, 3)
        chance = torch.Generator().manual_seed(0)
        pixels = torch.randn(batch["pixel_values"].shape, generator=chance).to(batch["pixel_values"])
        with torch.no_grad():
            classes = self.run(model, {"pixel_values": pixels}).logits.shape[-1]
        return {"pixel_values": pixels, "labels": torch.randint(classes, (3,), generator=chance)}

    def _images(self, model: nn.Module, count: int) -> Batch:
        one = next(model.parameters())
        return {
            "pixel_values": torch.zeros(count, self.channels, self.size, self.size, dtype=one.dtype, device=one.device)
        }

    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        """A batch of images; nothing is padded."""
        pixels = torch.stack([row["pixel_values"] for row in rows])
        return {"pixel_values": pixels, "labels": torch.tensor([row["labels"] for row in rows])}

    def run(self, model: nn.Module, batch: Batch, *, hidden: bool = False) -> Outputs:
        """Logits (batch, classes), of models that return nothing else too."""
        pixels = batch["pixel_values"].to(next(model.parameters()).dtype)
        found: Tensor | Outputs = model(pixels, **({"output_hidden_states": True} if hidden else {}))
        return Said(found) if isinstance(found, Tensor) else found

    def prompt(self, batch: Batch) -> Batch:
        """The images."""
        return {"pixel_values": batch["pixel_values"]}

    def positions(self, batch: Batch, stack: str) -> Tensor:
        """The images themselves: nothing of them is padding."""
        return torch.ones(len(batch["pixel_values"]), dtype=torch.bool)

    def states(self, outputs: Outputs, batch: Batch) -> Sequence[States]:
        """None: convolutions of different sizes have no states to compare."""
        return []

    def depth(self, model: nn.Module) -> Mapping[str, int]:
        """None, as `states`."""
        return {}

    def first_difference(
        self, models: Sequence[nn.Module], batch: Batch, differs: Callable[[Tensor, Tensor], bool]
    ) -> str:
        """Unknown: nobody looks inside."""
        return "somewhere in the model"


IMAGE_CLASSIFICATION = ImageClassification()
