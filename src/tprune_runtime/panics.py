"""Panics of libraries that are written in Rust: they are raised, and written to standard error as well."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def quiet_panics() -> Iterator[None]:
    """Keeps what Rust writes about a panic, which is raised as well, from standard error."""
    kept = None
    with suppress(OSError):  # standard error may be closed
        kept = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
    try:
        yield
    finally:
        if kept is not None:
            os.dup2(kept, 2)
            os.close(kept)
