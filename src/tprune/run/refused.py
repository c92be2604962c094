"""A command that is refused does not own its `--out`.

What it made there goes, and what was there before stays as it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tprune.run.outputs import markers
from tprune.support.errors import TpruneError

MARKER, WORK = "run.json", "work"


@contextmanager
def given_back(out: Path, copies: Collection[str]) -> Iterator[None]:
    """Undoes what the block does in a folder if it ends in an error of ours before any stage was finished.

    Training that has saved a checkpoint stays, and so does everything after any other error: the same command goes on
        there.

    Args:
        out: the folder; there may be none yet.
        copies: stages that cost nothing to do again, so that they do not count as finished.
    """
    made = [path for path in (out, *out.parents) if not path.exists()]
    before = {path.name for path in out.iterdir()} if out.is_dir() else set()
    stages = markers(out).names()
    marker = (out / MARKER).read_bytes() if MARKER in before else None
    try:
        yield
    except TpruneError:
        if out.is_dir() and not _earned(out, copies):
            _undo(out, before, stages, marker, made)
        raise


def _earned(out: Path, copies: Collection[str]) -> bool:
    """Whether a folder holds work: a finished stage or a checkpoint."""
    return bool(set(markers(out).names()) - set(copies)) or any(path.is_file() for path in (out / WORK).rglob("*"))


def _undo(out: Path, before: Collection[str], stages: Collection[str], marker: bytes | None, made: list[Path]) -> None:
    for stage in set(markers(out).names()) - set(stages):
        markers(out).path(stage).unlink(missing_ok=True)
    for path in [path for path in out.iterdir() if path.name not in before]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):  # the lock, where a system does not let go of an open file
                path.unlink()
    if marker is not None and (out / MARKER).read_bytes() != marker:
        (out / MARKER).write_bytes(marker)
    for path in made:  # the innermost first
        with suppress(OSError):
            path.rmdir()
