"""Writing so that nothing a user had is lost: folders and files appear whole, or not at all."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from tprune.support.errors import InputError


@contextmanager
def atomic_directory(out: Path) -> Iterator[Path]:
    """A sibling folder to write into, which takes the place of `out` when all went well and is removed otherwise.

    A link is followed: what it leads to is replaced, and the link stays.

    Raises:
        InputError: the sibling cannot be made.
    """
    given, out = out, landing(out)
    fresh, old = (out.with_name(f".{out.name}.{os.getpid()}.{kind}") for kind in ("new", "old"))
    restore(out)
    try:
        fresh.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{given}: cannot be written ({error.strerror or error})") from None
    try:
        yield fresh
        _settle(fresh)
        if out.exists():
            out.rename(old)
        try:
            fresh.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    for path in (old, *_left_behind(out)):
        shutil.rmtree(path, ignore_errors=True)


def landing(out: Path) -> Path:
    """Where a path leads once all its links are followed; the place itself need not exist yet.

    Raises:
        InputError: links in a circle, a link into a folder that is not there (a disk that is not mounted, say), or a
            name that is not UTF-8.
    """
    out = out.absolute()
    if not _is_utf8(str(out)):
        raise InputError(
            f"{out}: its name is not UTF-8, and the libraries that write models open no other; choose another"
        )
    try:
        found = out.resolve(strict=False)
    except (OSError, RuntimeError):  # Python 3.11 and 3.12 raise RuntimeError for a circle
        raise InputError(f"{out}: links in a circle; expected a place to write to") from None
    if out.is_symlink() and found.is_symlink():  # from Python 3.13 a circle is no error
        raise InputError(f"{out}: links in a circle; expected a place to write to")
    if out.is_symlink() and not found.parent.is_dir():
        raise InputError(
            f"{out}: a link to {found}, but there is no folder {found.parent}; expected a place to write to"
        )
    return found


@cache
def openable(path: str) -> str:
    """A name under which libraries outside Python can open a path.

    They take UTF-8 alone, so another name gets a link for now.
    """
    if _is_utf8(path):
        return path
    links = Path(_links().name)
    link = links / str(len([*links.iterdir()]))
    link.symlink_to(Path(path).absolute())
    return str(link)


@cache
def _links() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="tprune-")  # removed when the process ends


def _is_utf8(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def restore(out: Path) -> None:
    """Puts a folder back that a process was killed over between moving it aside and moving its successor in.

    Only then do both wait beside `out`, which is gone. What lies aside without a successor was replaced: where `out` is
    gone all the same, its user took it away, and it stays away.
    """
    if out.exists() or out.is_symlink():
        return
    for fresh in _left_behind(out, "new"):
        aside = fresh.with_suffix(".old")
        if aside.exists():
            aside.rename(out)
            return


def _left_behind(out: Path, kind: str = "new|old") -> list[Path]:
    """What processes that are no more left beside `out`: half-written successors, and what was replaced."""
    form = re.compile(rf"\.{re.escape(out.name)}\.(\d+)\.({kind})")
    beside = {path: form.fullmatch(path.name) for path in sorted(out.parent.glob(f".{glob.escape(out.name)}.*"))}
    return [path for path, found in beside.items() if found and not psutil.pid_exists(int(found[1]))]


def _settle(folder: Path) -> None:
    """Sees every file to the disk, with the rights any new file gets.

    Libraries that write through temporary files leave them private.
    """
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~umask)
            with path.open("rb") as file:
                os.fsync(file.fileno())


def write_json(path: Path, data: Any) -> None:
    """Writes JSON so that the file is either whole or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():  # the link stays
        path = landing(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # two processes may write the same
    with part.open(
        "w", encoding="utf-8", errors="backslashreplace"
    ) as file:  # names of files may be any bytes: JSON has \udce9
        json.dump(data, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_json(path: Path) -> Any:
    """Reads a JSON file. Raises `InputError` naming it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); expected JSON that tprune wrote") from None
    except ValueError as error:
        raise InputError(f"{path}: damaged or cut short ({error}); expected JSON that tprune wrote") from None
