"""Lowered graphs that are kept: lowering takes seconds a layer, and the same graph is exported again and again.

A latency table, the timing of the plan that was chosen and the export at the end all begin with the dense model.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor
from torch.export import ExportedProgram

from tprune.support.machine import cache_folder

FOLDER = "executorch"
MOST = 2_000_000_000  # bytes that are kept
FORMAT = 1  # of how graphs are lowered here; another one makes what is kept useless


def content(program: ExportedProgram, precision: str, toolchain: Mapping[str, str]) -> str:
    """What a lowered file depends on, as one word: operators, sizes, weights, and what lowers them.

    Args:
        program: in single precision.
        precision: its name, and that of each product.
        toolchain: versions by package.
    """
    found = hashlib.sha256()
    for part in (FORMAT, precision, sorted(toolchain.items()), program.graph, program.range_constraints):
        found.update(f"{part}\n".encode())
    found.update(str(program.graph_signature).encode())
    for name, value in sorted({**program.state_dict, **program.constants}.items()):
        found.update(name.encode())
        if isinstance(value, Tensor):
            found.update(f"{value.dtype} {tuple(value.shape)}".encode())
            found.update(value.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def lowered_once(word: str, path: Path, make: Callable[[Path], None]) -> bool:
    """Writes a file that is kept under a word, or makes it, and keeps it where that is possible.

    Args:
        word: what the file depends on, see `content`.
        path: of the file.
        make: writes the file.

    Returns:
        whether it was kept already.
    """
    folder = cache_folder() / FOLDER
    shelf = folder / f"{word}.pte"
    with suppress(OSError):
        shutil.copyfile(shelf, path)
        os.utime(shelf)
        return True
    make(path)
    with suppress(OSError):  # where nothing can be kept, it is made again
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder) as aside:
            whole = Path(aside) / shelf.name
            shutil.copyfile(path, whole)
            whole.replace(shelf)
        _forget(folder)
    return False


def _forget(folder: Path) -> None:
    """Removes what was not used for longest, beyond `MOST` bytes."""
    files = sorted(folder.glob("*.pte"), key=lambda file: file.stat().st_mtime, reverse=True)
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > MOST:
            file.unlink(missing_ok=True)
