"""Labelled images: folders and archives with one folder a class, and IDX files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tprune.data.rows import SHORT, Rows
from tprune.support.errors import InputError

Picture = Path | bytes | NDArray[np.uint8]  # a file, its content, or pixels (height, width[, channels])
NEEDED = "reading images needs Pillow: pip install 'tprune[images]'"


@dataclass(frozen=True, eq=False)
class LabeledImages(Rows):
    """Images that are decoded when they are encoded for a model, and the name of each one's class.

    Raises:
        InputError: there are none, or not as many images as labels.

    Example:
        >>> len(LabeledImages((np.zeros((2, 2), np.uint8),), ("cat",)))
        1
    """

    images: tuple[Picture, ...]
    labels: tuple[str, ...]
    name: str = "images"
    places: tuple[str, ...] = ()
    COLUMNS: ClassVar[tuple[str, ...]] = ("images", "labels")

    def digest(self) -> str:
        """A hash of the images' content and of the labels."""
        found = sha256(repr(self.labels).encode())
        for image in self.images:
            found.update(sha256(_content(image)).digest())
        return found.hexdigest()[:SHORT]


def _content(image: Picture) -> bytes:
    if isinstance(image, Path):
        return image.read_bytes()
    return image if isinstance(image, bytes) else repr(image.shape).encode() + image.tobytes()


def opened(image: Picture, place: str) -> Any:
    """A decoded image of Pillow.

    Args:
        image: a file, its content or its pixels.
        place: what messages call it.

    Raises:
        InputError: Pillow is not installed, or the image cannot be read.
    """
    try:
        from PIL import Image
    except ImportError:
        raise InputError(f"{place}: {NEEDED}") from None
    if isinstance(image, np.ndarray):
        return Image.fromarray(image)
    try:
        found = Image.open(image if isinstance(image, Path) else io.BytesIO(image))
        found.load()
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise InputError(f"{place}: no image that can be read ({error})") from None
    return found
