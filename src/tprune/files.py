"""Writing so that nothing a user had is lost: folders and files appear whole, or not at all."""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tprune.errors import InputError


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A sibling folder to write into, which takes the place of `out` when all went well and is removed otherwise.

    Raises:
        InputError: the sibling cannot be made.
    """
    out = out.absolute()
    fresh, old = (out.with_name(f".{out.name}.{os.getpid()}.{kind}") for kind in ("new", "old"))
    restore(out)
    try:
        fresh.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error})") from None
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
    shutil.rmtree(old, ignore_errors=True)


def restore(out: Path) -> None:
    """Puts a folder back that a process was killed over between moving it aside and moving its successor in."""
    aside = sorted(out.parent.glob(f".{glob.escape(out.name)}.[0-9]*.old")) if not out.exists() else []
    if aside:
        aside[-1].rename(out)


def _settle(folder: Path) -> None:
    """Sees every file to the disk, with the rights any new file gets; libraries that write through temporary files leave them
    private.
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
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # two processes may write the same
    with part.open(
        "w", encoding="utf-8", errors="backslashreplace"
    ) as file:  # names of files may be any bytes: JSON has \udce9
        json.dump(data, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def claim(folder: Path, described: Mapping[str, Any]) -> None:
    """Notes in `folder` what its content is made from, so that a killed piece of work goes on only with its own beginnings.

    Raises:
        InputError: it was made from something else; says what differs.
    """
    marker, now = folder / "made-from.json", json.loads(json.dumps(described))
    if marker.exists():
        then = read_json(marker)
        for key in now:
            if now[key] != then.get(key):
                raise InputError(
                    f"{folder} holds work with another {key} ({then.get(key)!r}, now {now[key]!r}); choose another folder"
                )
    write_json(marker, now)


def read_json(path: Path) -> Any:
    """Reads a JSON file. Raises `InputError` naming it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); expected JSON that tprune wrote") from None
    except ValueError as error:
        raise InputError(f"{path}: damaged or cut short ({error}); expected JSON that tprune wrote") from None
