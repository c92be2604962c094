"""Reading a file's bytes only where that ends: pipes, devices and what is larger than memory are refused at once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tprune.support.errors import InputError

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
MEMORY_SHARE = 4  # sentences take about this many times the bytes of their file


def regular_bytes(path: Path, expected: str, most: int | None = None) -> bytes:
    """The bytes of a regular file.

    Args:
        path: the file; links are followed.
        expected: what it should be, for messages: "a text file".
        most: bytes it may have; a quarter of this machine's memory if not given.

    Raises:
        InputError: it cannot be read, is no regular file (which could block, or never end), or is larger than `most`.
    """
    check_regular(path, expected, most)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); expected {expected}") from None
    except MemoryError:
        raise InputError(f"{path}: does not fit into memory; expected {expected}, of fewer bytes") from None


def check_regular(path: Path, expected: str, most: int | None = None) -> None:
    """Raises `InputError` as `regular_bytes` does, from what the folder says of a file: it is not opened."""
    try:
        found = path.stat()  # opening would wait for the other end of a pipe, and may act on a device
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); expected {expected}") from None
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{str(path)!r}: cannot be read ({error}); expected {expected}") from None
    if not stat.S_ISREG(found.st_mode):
        what = next((name for test, name in KINDS if test(found.st_mode)), "no regular file")
        raise InputError(f"{path}: cannot be read ({what}); expected {expected}")
    limit = most or largest_file()
    if found.st_size > limit:
        raise InputError(f"{path}: {found.st_size:,} bytes; expected {expected}, of at most {limit:,}")


def largest_file() -> int:
    """Bytes of the largest file whose sentences fit into this machine's memory."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not every system says
        memory = 1 << 34
    return memory // MEMORY_SHARE
