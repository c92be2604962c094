"""Preprocessing of images by the settings beside a model, under the names that transformers gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.data.images import Picture, opened
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json

FILE = "preprocessor_config.json"
WHOLE_FROM = 384  # pixels of the shortest edge from which nothing is cropped, as ConvNeXt has it
EXPECTED = 'such as {"size": {"height": 32, "width": 32}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'


@dataclass(frozen=True)
class ImageProcessor:
    """From a decoded image to what a model takes: resized, cropped, rescaled, normalised.

    A pixel x of a channel becomes `(factor · x − mean) / std`.

    Attributes:
        mean: of each channel, after rescaling; as many as the model has input channels.
        std: likewise.
        size: height and width that images are resized to; None where they stay as they are.
        shortest: the length that the shortest edge is resized to instead.
        crop: height and width that are cut out of the middle then.
        factor: what pixel values of 0 to 255 are multiplied by.
        resample: Pillow's filter, by its number.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None = None
    shortest: int | None = None
    crop: tuple[int, int] | None = None
    factor: float = 1 / 255
    resample: int = 2

    @staticmethod
    def load(folder: str | Path) -> ImageProcessor:
        """The processor of a model's folder.

        Raises:
            InputError: there is no `preprocessor_config.json`, or it lacks what is needed; says what.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise InputError(f"{path}: not there; expected the settings of image preprocessing, {EXPECTED}")
        said = read_json(path)
        if not isinstance(said, dict):
            raise InputError(f"{path}: holds a {type(said).__name__}; expected an object, {EXPECTED}")
        try:
            return _from(said)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: {error}; expected settings {EXPECTED}") from None

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Writes the settings beside a model."""
        size: dict[str, int] | None = None
        if self.shortest is not None:
            size = {"shortest_edge": self.shortest}
        elif self.size is not None:
            size = {"height": self.size[0], "width": self.size[1]}
        crop = None if self.crop is None else {"height": self.crop[0], "width": self.crop[1]}
        said = {
            **{"do_resize": size is not None, "size": size, "resample": self.resample},
            **{"do_center_crop": crop is not None, "crop_size": crop},
            **{"do_rescale": True, "rescale_factor": self.factor},
            **{"do_normalize": True, "image_mean": list(self.mean), "image_std": list(self.std)},
        }
        write_json(Path(save_directory) / FILE, said)

    def pixels(self, image: Picture, place: str) -> NDArray[np.uint8]:
        """The image as bytes (channels, height, width), resized and cropped.

        Raises `InputError` where it cannot be read.
        """
        found = opened(image, place).convert("L" if len(self.mean) == 1 else "RGB")
        if self.shortest is not None:
            scale = self.shortest / min(found.size)
            found = found.resize(tuple(round(scale * edge) for edge in found.size), self.resample)
        elif self.size is not None and found.size != self.size[::-1]:
            found = found.resize(self.size[::-1], self.resample)
        values = np.asarray(found, np.uint8)
        values = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
        return values if self.crop is None else _middle(values, self.crop, place)

    def normalised(self, values: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Bytes (..., channels, height, width) as the model takes them."""
        mean, std = (np.asarray(each, np.float32)[:, None, None] for each in (self.mean, self.std))
        found: NDArray[np.float32] = (values.astype(np.float32) * np.float32(self.factor) - mean) / std
        return found


def _from(said: Mapping[str, Any]) -> ImageProcessor:
    if not said.get("do_normalize", True):
        channels = len(said.get("image_mean") or range(3))
        said = {**said, "image_mean": [0.0] * channels, "image_std": [1.0] * channels}
    mean, std = (tuple(float(each) for each in said[key]) for key in ("image_mean", "image_std"))
    if len(mean) != len(std) or len(mean) not in (1, 3) or not all(each > 0 for each in std):
        raise ValueError(f"image_mean {list(mean)} and image_std {list(std)}; one or three numbers each, std above 0")
    size, shortest, crop = None, None, None
    if said.get("do_resize", "size" in said):
        size, shortest = _sizes(said["size"])
    if said.get("do_center_crop", False):
        crop, square = _sizes(said["crop_size"])
        crop = crop if square is None else (square, square)
    if shortest is not None and (share := said.get("crop_pct")) is not None and shortest < WHOLE_FROM:
        crop, shortest = (shortest, shortest), int(shortest / share)
    factor = float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 1.0
    return ImageProcessor(mean, std, size, shortest, crop, factor, int(said.get("resample", 2)))


def _sizes(size: Any) -> tuple[tuple[int, int] | None, int | None]:
    """Height and width, or the shortest edge."""
    if isinstance(size, Mapping) and "shortest_edge" in size:
        return None, int(size["shortest_edge"])
    height, width = (size, size) if isinstance(size, int) else (size["height"], size["width"])
    return (int(height), int(width)), None


def _middle(values: NDArray[np.uint8], crop: tuple[int, int], place: str) -> NDArray[np.uint8]:
    (_, height, width), (rows, columns) = values.shape, crop
    if rows > height or columns > width:
        raise InputError(f"{place}: {height} x {width} pixels; expected at least {rows} x {columns}, which are cut out")
    top, left = (height - rows) // 2, (width - columns) // 2
    return values[:, top : top + rows, left : left + columns]
