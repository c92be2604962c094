"""Labelled images: where they are read from, and what a model is given of them."""

from __future__ import annotations

import gzip
import io
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tprune.core.data import Data
from tprune.data.image_processor import FILE, ImageProcessor
from tprune.data.images import LabeledImages
from tprune.data.read_images import read_images
from tprune.support.errors import InputError
from tprune.support.files import write_json

Image = pytest.importorskip("PIL.Image")
GREY = ImageProcessor((0.0,), (1.0,))
COLOUR = ImageProcessor((0.5, 0.4, 0.3), (0.1, 0.2, 0.4))


def png(value: int = 0, size: tuple[int, int] = (4, 3), mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, value).save(out, "PNG")
    return out.getvalue()


def folder_of(root: Path) -> Path:
    for name in ("dog/b.png", "cat/2.png", "cat/1.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png())
    (root / "README.md").write_text("not an image")
    (root / "cat" / ".hidden").write_text("")
    return root


def test_folders_and_archives_of_classes(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "test")
    found = read_images(root)
    assert found.labels == ("cat", "cat", "dog") and found.place(0) == f"{root}/cat/1.png" and isinstance(found, Data)
    with tarfile.open(tmp_path / "test.tar.xz", "w:xz") as archive:
        archive.add(root, "test")
    packed = read_images([tmp_path / "test.tar.xz"])
    assert packed.labels == found.labels and packed.place(2) == f"{tmp_path}/test.tar.xz: test/dog/b.png"
    assert packed.digest() == found.digest() != found.spread(2).digest()
    assert COLOUR.pixels(packed.images[0], packed.place(0)).shape == (3, 3, 4)


def idx(values: Any, *shape: int) -> bytes:
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
    return header + np.array(values, np.uint8).tobytes()


def test_idx_files(tmp_path: Path) -> None:
    images, labels = tmp_path / "t10k-images-idx3-ubyte.gz", tmp_path / "t10k-labels-idx1-ubyte.gz"
    images.write_bytes(gzip.compress(idx(range(12), 2, 2, 3)))
    labels.write_bytes(gzip.compress(idx([7, 0], 2)))
    found = read_images(images)
    assert found.labels == ("7", "0") and found.place(1) == f"{images}: image 2"
    assert GREY.pixels(found.images[1], "").tolist() == [[[6, 7, 8], [9, 10, 11]]]
    labels.write_bytes(gzip.compress(idx([7], 1)))
    with pytest.raises(InputError, match=r"has 2 images and .*labels-idx1-ubyte.gz 1 labels"):
        read_images(images)
    images.write_bytes(gzip.compress(idx(range(11), 2, 2, 3)))
    with pytest.raises(InputError, match="holds 11 values; its header says 2 x 2 x 3"):
        read_images(images)
    images.write_bytes(gzip.compress(b"nothing"))
    with pytest.raises(InputError, match="no IDX file of bytes with 3 dimensions"):
        read_images(images)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "test")
    (root / "cat" / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"cat/notes.txt: no image \(.png"):
        read_images(root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no images in folders of their classes"):
        read_images(tmp_path / "empty")
    for name, content in (("a.tar.xz", b"\xfd7zXZ\0nothing"), ("a.tar", b"x" * 600)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: no complete tar archive"):
            read_images(tmp_path / name)
    with tarfile.open(tmp_path / "flat.tar", "w") as archive:
        archive.add(root / "dog/b.png", "b.png")
    with pytest.raises(InputError, match=r"b\.png lies in no folder of a class"):
        read_images(tmp_path / "flat.tar")
    with pytest.raises(InputError, match="expected a folder or tar archive"):
        read_images(root / "README.md")
    with pytest.raises(InputError, match="have no columns"):
        read_images(root, ["image"])
    with pytest.raises(InputError, match=r"here.png: no image that can be read"):
        COLOUR.pixels(png()[:40], "here.png")


def test_pixels_are_rescaled_and_normalised() -> None:
    values = np.full((3, 2, 2), 51, np.uint8)
    found = COLOUR.normalised(values)
    np.testing.assert_allclose(found[:, 0, 0], [(0.2 - 0.5) / 0.1, (0.2 - 0.4) / 0.2, (0.2 - 0.3) / 0.4], rtol=1e-5)
    assert COLOUR.pixels(png(9, mode="L"), "").tolist() == [[[9] * 4] * 3] * 3  # grey in three channels


def test_settings_are_those_of_transformers(tmp_path: Path) -> None:
    torchvision_free = {
        "size": {"height": 6, "width": 5},
        "do_resize": True,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    write_json(tmp_path / FILE, torchvision_free)
    found = ImageProcessor.load(tmp_path)
    assert found.size == (6, 5) and found.resample == 3 and found.pixels(png(), "").shape == (3, 6, 5)
    crop = {**torchvision_free, "size": {"shortest_edge": 6}, "do_center_crop": True, "crop_size": 4}
    write_json(tmp_path / FILE, crop)
    assert ImageProcessor.load(tmp_path).pixels(png(), "").shape == (3, 4, 4)
    write_json(tmp_path / FILE, {**torchvision_free, "size": {"shortest_edge": 8}, "crop_pct": 0.5})
    share = ImageProcessor.load(tmp_path)
    assert (share.shortest, share.crop) == (16, (8, 8))
    for each in (found, share, COLOUR, GREY, ImageProcessor.load(tmp_path)):
        each.save_pretrained(tmp_path)
        assert ImageProcessor.load(tmp_path) == each
    with pytest.raises(InputError, match="here: 3 x 4 pixels; expected at least 5 x 5"):
        ImageProcessor((0.0,), (1.0,), crop=(5, 5)).pixels(png(), "here")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "'image_mean'; expected settings such as"),
        ({"image_mean": [0.5], "image_std": [0.0]}, "std above 0"),
        ({"image_mean": [0.5] * 2, "image_std": [0.5] * 2}, "one or three numbers each"),
        ({"image_mean": 0.5, "image_std": 0.5}, "expected settings such as"),
        ({"image_mean": [0.5], "image_std": [0.5], "do_resize": True, "size": {"height": 3}}, "'width'"),
        ([], "holds a list"),
    ],
)
def test_settings_that_are_wrong_are_named(tmp_path: Path, content: Any, says: str) -> None:
    write_json(tmp_path / FILE, content)
    with pytest.raises(InputError) as error:
        ImageProcessor.load(tmp_path)
    assert says in str(error.value) and FILE in str(error.value)


def test_settings_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"preprocessor_config.json: not there; expected the settings of image preproc"
    ):
        ImageProcessor.load(tmp_path)


def test_without_pillow_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    content = png()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(InputError, match=r"a.png: reading images needs Pillow: pip install 'tprune\[images\]'"):
        COLOUR.pixels(content, "a.png")


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("TPRUNE_DATA"), reason="TPRUNE_DATA names no folder")
def test_real_files() -> None:
    folder = Path(os.environ["TPRUNE_DATA"])
    cifar = read_images(folder / "cifar10_jpeg/test.tar.xz")
    assert len(cifar) == 10_000 and len(set(cifar.labels)) == 10
    assert COLOUR.pixels(cifar.images[0], "").shape == (3, 32, 32)
    fashion = read_images(folder / "fashion_mnist/t10k-images-idx3-ubyte.gz")
    assert len(fashion) == 10_000 and torch.from_numpy(GREY.pixels(fashion.images[0], "")).shape == (1, 28, 28)
    assert isinstance(fashion, LabeledImages)
