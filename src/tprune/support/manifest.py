"""The checksum manifest: which files a folder was left with, and whether they are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def digest(path: Path) -> str:
    """The SHA-256 of a file. Raises `OSError` where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


Digest = Callable[[Path], str]


@dataclass(frozen=True)
class Stamp:
    """A file's checksum, and its size in bytes where that was noted."""

    sha256: str
    bytes: int | None = None


@dataclass(frozen=True)
class Manifest:
    """Files by their path below a folder, each with its stamp.

    Two formats hold one: `to_dict` with sizes, `sums` without; `from_dict` reads both.
    """

    stamps: Mapping[str, Stamp]

    @staticmethod
    def of(folder: Path, files: Iterable[Path] | None = None, digest: Digest = digest) -> Manifest:
        """The manifest of files in a folder.

        Args:
            folder: that names are relative to.
            files: in it; if not given all, in the order of their paths.
            digest: how a file is read.

        Raises:
            OSError: one cannot be read.
        """
        listed = sorted(path for path in folder.rglob("*") if path.is_file()) if files is None else files
        return Manifest(
            {path.relative_to(folder).as_posix(): Stamp(digest(path), path.stat().st_size) for path in listed}
        )

    @staticmethod
    def from_dict(data: Any) -> Manifest:
        """What `to_dict` or `sums` gave. Raises `ValueError` where the data is neither; values are not looked at.

        Example:
            >>> Manifest.from_dict({"a": "00", "b": {"bytes": 3, "sha256": "01"}}).sums()
            {'a': '00', 'b': '01'}
        """
        if not isinstance(data, dict):
            raise ValueError(f"a {type(data).__name__} is no manifest")
        return Manifest({name: _stamp(value) for name, value in data.items()})

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Size and checksum by name."""
        return {name: {"bytes": stamp.bytes, "sha256": stamp.sha256} for name, stamp in self.stamps.items()}

    def sums(self) -> dict[str, str]:
        """The checksum by name."""
        return {name: stamp.sha256 for name, stamp in self.stamps.items()}

    def error(self, folder: Path, digest: Digest = digest) -> str | None:
        """The first file of the folder that is missing, of another size, or changed; None where all are as they were.

        Files that were added do not count.

        Example:
            >>> Manifest({"weights": Stamp("00", 3)}).error(Path("/nowhere"))
            'weights is missing'
        """
        found = ((name, _fault(folder / name, stamp, digest)) for name, stamp in self.stamps.items())
        return next((f"{name} {wrong}" for name, wrong in found if wrong), None)


def _stamp(value: Any) -> Stamp:
    if not isinstance(value, dict):
        return Stamp(value)
    if value.keys() != {"bytes", "sha256"}:
        raise ValueError(f"{', '.join(map(str, value))}: expected bytes and sha256")
    return Stamp(value["sha256"], value["bytes"])


def _fault(path: Path, expected: Stamp, digest: Digest) -> str | None:
    try:
        if not path.is_file():
            return "is no file any more" if path.exists() else "is missing"
        if expected.bytes is not None and (size := path.stat().st_size) != expected.bytes:
            return f"has {size:,} bytes instead of {expected.bytes:,}"
        return None if digest(path) == expected.sha256 else "has changed since it was written"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
