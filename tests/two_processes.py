"""Work that two processes of a gloo group do together."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as group

SIZE = 2


def together(work: Callable[..., None], folder: Path, *given: Any) -> None:
    """Calls `work(rank, folder, *given)` in each of two processes; fails where one of them does."""
    torch.multiprocessing.spawn(_one, args=(work, str(folder), given), nprocs=SIZE, daemon=True)


def _one(rank: int, work: Callable[..., None], folder: str, given: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    group.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=SIZE)
    work(rank, Path(folder), *given)
    group.barrier()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # gloo's destructor joins a thread that may wait for the interpreter's lock: for ever
