"""Whether a run may write to a folder. Nothing heavy is imported, so that a wrong `--out` is refused at once."""

from __future__ import annotations

from pathlib import Path

from tprune.support.errors import InputError
from tprune.support.files import read_json

LOCK, HOLDER = ".lock", ".held-by.json"


def check_folder(out: Path) -> None:
    """Whether a run may use a folder.

    Raises:
        InputError: it holds something else, or is a file.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"--out {out}: is a file, and no tprune run; choose another")
    marker = out / "run.json"
    if marker.exists() and (out / "stages").is_dir() and not _describes(marker):
        raise InputError(
            f"{marker}: damaged, so that nobody can say whether this is the run you mean; choose another --out"
        )
    if any(path.name not in (LOCK, HOLDER) for path in out.iterdir()) and not (marker.exists() and _describes(marker)):
        raise InputError(f"--out {out} exists and is no tprune run; choose another")


def _describes(marker: Path) -> bool:
    """Whether a `run.json` is ours; any program may call a file so."""
    try:
        return {"recipe", "corpus", "model"} <= set(read_json(marker))
    except (InputError, TypeError):
        return False
