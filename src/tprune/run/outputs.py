"""What each stage of a run leaves, and whether it is still what the stage left."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json

MODELS = {"train": "dense", "trim": "trimmed", "prune": "regularised", "shrink": "cut", "recover": "pruned"}
OUTPUTS: Mapping[str, tuple[str, ...]] = {
    **{stage: (model,) for stage, model in MODELS.items()}, "time": ("latency.json",), "analyze": ("analysis.json",),
    "teach": ("taught",), "export": ("onnx/dense", "onnx/pruned"), "evaluate": ("translations.json",),
}  # fmt: skip


def note_sums(out: Path, stage: str) -> None:
    """Notes size and checksum of every file that a stage left."""
    sums = {path.relative_to(out).as_posix(): _sum(path) for path in _files(out, stage)}
    write_json(_note(out, stage), sums)


def damage(out: Path, stage: str) -> str | None:
    """Which file of a stage is gone or not as the stage left it; None where all are. Files that were added do not count."""
    try:
        sums = read_json(_note(out, stage))
        return next((name for name, expected in sums.items() if _sum(out / name) != expected), None)
    except (InputError, AttributeError):  # a run of before there were sums, or one whose sums are damaged
        return next((name for name in OUTPUTS.get(stage, ()) if stage in MODELS and not (out / name).exists()), None)


def set_aside(out: Path, stage: str) -> list[str]:
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


def _sum(path: Path) -> str:
    try:
        stat = path.stat()
        return _digest(path, stat.st_size, stat.st_mtime_ns)
    except OSError:
        return "gone"


@lru_cache(maxsize=256)
def _digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
