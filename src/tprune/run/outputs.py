"""What each stage of a run leaves, and whether it is still what the stage left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tprune.support.files import read_json, write_json
from tprune.support.manifest import Manifest, digest
from tprune.support.store import Store

MODELS = {"train": "dense", "trim": "trimmed", "prune": "regularised", "shrink": "cut", "recover": "pruned"}
OUTPUTS: Mapping[str, tuple[str, ...]] = {
    **{stage: (model,) for stage, model in MODELS.items()}, "time": ("latency.json",), "analyze": ("analysis.json",),
    "teach": ("taught",), "export": ("onnx/dense", "onnx/pruned"), "evaluate": ("translations.json",),
}  # fmt: skip


def markers(out: Path) -> Store[Any]:
    """The finished stages of a run, each with what it found."""
    return Store(out / "stages")


def write_manifest(out: Path, stage: str) -> None:
    """Notes the checksum of every file that a stage left."""
    write_json(_note(out, stage), Manifest.of(out, _files(out, stage), _remembered).sums())


def manifest_error(out: Path, stage: str) -> str | None:
    """What is gone or not as the stage left it; None where nothing is. Files that were added do not count."""
    try:
        return Manifest.from_json(read_json(_note(out, stage))).error(out, _remembered)
    except ValueError:  # a run of before there were manifests, or one whose manifest is damaged
        missing = (name for name in OUTPUTS.get(stage, ()) if stage in MODELS and not (out / name).exists())
        return next((f"{name} is missing" for name in missing), None)


def quarantine(out: Path, stage: str) -> list[str]:
    """Moves what a stage left out of the way of what it will write anew, and returns the new names; nothing is deleted."""
    moved = []
    for name in OUTPUTS.get(stage, ()):
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
    for name in OUTPUTS.get(stage, ()):
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
