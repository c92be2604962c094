"""What each stage of a run leaves, and whether it is still what the stage left."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from tprune.run.stage import stage_named
from tprune.support.files import read_json, write_json
from tprune.support.manifest import Manifest, digest
from tprune.support.store import Store


def markers(out: Path) -> Store[Any]:
    """The finished stages of a run, each with what it found."""
    return Store(out / "stages")


def write_manifest(out: Path, stage: str) -> None:
    """Notes the checksum of every file that a stage left."""
    write_json(_note(out, stage), Manifest.of(out, _files(out, stage), _remembered).sums())


def manifest_error(out: Path, stage: str) -> str | None:
    """What is gone or not as the stage left it; None where nothing is. Files that were added do not count."""
    try:
        return Manifest.from_dict(read_json(_note(out, stage))).error(out, _remembered)
    except ValueError:  # a run of before there were manifests, or one whose manifest is damaged
        model = stage_named(stage).model
        return f"{model} is missing" if model is not None and not (out / model).exists() else None


def quarantine(out: Path, stage: str) -> list[str]:
    """Moves what a stage left out of the way of what it will write anew, and returns the new names.

    Nothing is deleted.
    """
    moved = []
    for name in stage_named(stage).outputs:
        number, path = 1, out / name
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        if path.exists():
            path.rename(aside)
            moved.append(aside.relative_to(out).as_posix())
    return moved


def _note(out: Path, stage: str) -> Path:
    return out / "stages" / "sums" / f"{stage}.json"


def _files(out: Path, stage: str) -> Iterator[Path]:
    for name in stage_named(stage).outputs:
        path = out / name
        yield from (
            sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] if path.is_file() else []
        )


def _remembered(path: Path) -> str:
    """The checksum of a file; one that has the size and the time it had before is not read again."""
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest(path: Path, size: int, changed: int) -> str:
    return digest(path)
