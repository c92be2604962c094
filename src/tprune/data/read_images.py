"""Reading labelled images: from a folder or a tar archive with one folder a class, or from IDX files, as of MNIST."""

from __future__ import annotations

import lzma
import re
import tarfile
import zlib
from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tprune.core.data import Sources, paths
from tprune.data.images import LabeledImages, Picture
from tprune.data.parallel import contents
from tprune.support.errors import InputError, OptionError
from tprune.support.regular_file import check_regular, largest_file

KINDS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
ARCHIVE = re.compile(r"\.(tar|tgz|tar\.(gz|xz|bz2))$", re.IGNORECASE)
IDX = re.compile(r"images(?P<rank>[-.]idx)3-ubyte(?P<packed>\.gz)?$")
EXPECTED = "a folder or tar archive with one folder of images a class (CLASS/FILE.png), or ...-images-idx3-ubyte"
BYTES = 8  # the type code of unsigned bytes in an IDX file


def read_images(sources: Sources, columns: Sequence[str] = ()) -> LabeledImages:
    """Images with the names of their classes.

    Args:
        sources: folders or tar archives, in which an image lies in a folder called as its class; or IDX files of
            images, beside which lie those of labels.
        columns: none; images have no table.

    Raises:
        InputError: there is nothing of that kind, or a file is no image; names it.
    """
    if columns:
        raise OptionError(f"--columns {','.join(columns)}: images are read from folders, which have no columns")
    sets = [_read(path) for path in paths(sources)]
    if not sets:
        raise InputError(f"no images; expected {EXPECTED}")
    return reduce(add, sets)


def _read(path: Path) -> LabeledImages:
    if path.is_dir():
        return _folder(path)
    check_regular(path, EXPECTED)
    if ARCHIVE.search(path.name):
        return _archive(path)
    if IDX.search(path.name):
        return _idx(path)
    raise InputError(f"{path}: expected {EXPECTED}")


def _folder(folder: Path) -> LabeledImages:
    files = sorted(file for file in folder.glob("*/*") if not file.name.startswith(".") and file.is_file())
    if wrong := next((file for file in files if file.suffix.lower() not in KINDS), None):
        raise InputError(f"{wrong}: no image ({', '.join(KINDS)})")
    if not files:
        raise InputError(f"{folder}: no images in folders of their classes; expected {EXPECTED}")
    return _set(files, [file.parent.name for file in files], folder.name, [str(file) for file in files])


def _archive(path: Path) -> LabeledImages:
    found: dict[str, bytes] = {}
    total, most = 0, largest_file()
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if not member.isfile() or name.suffix.lower() not in KINDS:
                    continue
                if not name.parent.name:
                    raise InputError(f"{path}: {member.name} lies in no folder of a class; expected {EXPECTED}")
                if (total := total + member.size) > most:
                    raise InputError(f"{path}: unpacks to more than {most:,} bytes; expected images of at most these")
                content = archive.extractfile(member)
                assert content is not None
                found[member.name] = content.read()
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise InputError(f"{path}: no complete tar archive ({error})") from None
    if not found:
        raise InputError(f"{path}: no images in folders of their classes; expected {EXPECTED}")
    names = sorted(found)
    labels = [PurePosixPath(name).parent.name for name in names]
    return _set([found[name] for name in names], labels, path.name, [f"{path}: {name}" for name in names])


def _idx(path: Path) -> LabeledImages:
    """Images, and labels from the file that is called alike."""
    beside = path.with_name(IDX.sub(r"labels\g<rank>1-ubyte\g<packed>", path.name))
    images, labels = _values(path, 3), _values(beside, 1)
    if len(images) != len(labels):
        raise InputError(f"{path} has {len(images)} images and {beside} {len(labels)} labels; expected equally many")
    places = [f"{path}: image {number}" for number in range(1, len(images) + 1)]
    return _set(list(images), [str(label) for label in labels.tolist()], path.name, places)


def _values(path: Path, rank: int) -> NDArray[np.uint8]:
    """The content of an IDX file: two zero bytes, type, rank, sizes (big-endian), values."""
    raw = contents(path)
    start = 4 + 4 * rank
    if len(raw) < start or raw[:4] != bytes([0, 0, BYTES, rank]):
        raise InputError(f"{path}: no IDX file of bytes with {rank} dimensions")
    shape = tuple(np.frombuffer(raw[4:start], ">u4").tolist())
    if len(raw) - start != int(np.prod(shape)):
        raise InputError(f"{path}: holds {len(raw) - start:,} values; its header says {' x '.join(map(str, shape))}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _set(images: Sequence[Picture], labels: Sequence[str], name: str, places: Sequence[str]) -> LabeledImages:
    return LabeledImages(tuple(images), tuple(labels), name, tuple(places))
