"""Image classification: one class for an image.

A batch has `pixel_values` (batch, channels, height, width) and `labels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tprune.core.data import Sources
from tprune.core.model import Outputs
from tprune.core.task import Batch
from tprune.core.words import Words
from tprune.data.image_processor import ImageProcessor
from tprune.data.images import LabeledImages
from tprune.data.read_images import read_images
from tprune.support.errors import InputError
from tprune.tasks.class_names import classes_of
from tprune.tasks.classification import Classification
from tprune.tasks.encoded_images import Images as Images
from tprune.tasks.one_stack import check_data, is_for


@dataclass(frozen=True)
class Said:
    """The outputs of a model that returns its logits alone."""

    logits: Tensor


@dataclass(frozen=True)
class ImageClassification(Classification):
    """An image to one of several classes.

    Attributes:
        channels: of an image for a model that does not say how many it takes.
        size: its height and width in pixels, of the example whose operations are counted.
    """

    channels: int = 3
    size: int = 32
    name: ClassVar[str] = "image-classification"
    words: ClassVar[Words] = Words("an image", "images", "predictions", "Image", "an image", "image")

    def matches(self, model: nn.Module) -> bool:
        """Whether a model classifies images.

        It is of transformers' classes for this, or no model of transformers and begins with a convolution of images.
        """
        if getattr(model, "config", None) is not None and hasattr(model, "base_model_prefix"):
            return is_for(model, "ForImageClassification")
        first = _first(model)
        return isinstance(first, nn.Conv2d)

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
        shape = (count, _channels(model) or self.channels, *(_sides(model) or (self.size, self.size)))
        return {"pixel_values": torch.zeros(shape, dtype=one.dtype, device=one.device)}

    def read(self, sources: Sources, columns: Sequence[str] = ()) -> LabeledImages:
        """Folders, archives or IDX files; see `tprune.data.read_images.read_images`."""
        return read_images(sources, columns)

    def processor(self, folder: str | Path) -> ImageProcessor:
        """The preprocessing beside a model. Raises `InputError` where there is no `preprocessor_config.json`."""
        return ImageProcessor.load(folder)

    def encode(self, data: LabeledImages, processor: ImageProcessor, model: nn.Module) -> Images:
        """Decodes images to the size that the processor says.

        Raises:
            InputError: an image cannot be read, has another size than the first, or a class that the model does not
                know; or other data.
        """
        check_data(data, LabeledImages, self.name)
        classes, pixels = classes_of(data, model), list[Tensor]()
        expected, found = _channels(model), len(processor.mean)
        if expected not in (None, found):
            raise InputError(
                f"{type(model).__name__} takes images of {expected} channels, and its preprocessor_config.json makes "
                f"images of {found} (image_mean has {found} numbers); expected image_mean and image_std with "
                f"{expected} numbers each"
            )
        for index, image in enumerate(data.images):
            pixels.append(torch.from_numpy(processor.pixels(image, data.place(index)).copy()))
            if pixels[-1].shape != pixels[0].shape:
                sizes = [" x ".join(map(str, each.shape[1:])) for each in (pixels[-1], pixels[0])]
                raise InputError(
                    f"{data.place(index)}: {sizes[0]} pixels, the first image has {sizes[1]}; set do_resize and size"
                )
        return Images(
            torch.stack(pixels), classes.numbers, classes.names, tuple(map(data.place, range(len(data)))), processor
        )

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


def _first(model: nn.Module) -> nn.Module | None:
    """The first layer with weights."""
    return next((m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)), None)


def _channels(model: nn.Module) -> int | None:
    """The channels of the images that a model takes, by its first layer, else by its configuration."""
    first = _first(model)
    if isinstance(first, nn.Conv2d):
        return int(first.in_channels)
    said = getattr(getattr(model, "config", None), "num_channels", None)
    return None if said is None else int(said)


def _sides(model: nn.Module) -> tuple[int, int] | None:
    """The height and width of the images that a model takes, by its configuration; None where they are free."""
    config = getattr(model, "config", None)
    said = getattr(getattr(config, "vision_config", config), "image_size", None)
    if said is None:
        return None
    return (int(said), int(said)) if isinstance(said, int) else (int(said[0]), int(said[1]))


IMAGE_CLASSIFICATION = ImageClassification()
