"""Who trains: this process alone, or all of a group. What a launcher left in the environment changes neither."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from tprune.support.launcher import PLACES, SETTINGS


def processes() -> int:
    """How many processes train together: those of torch's group, where there is one, else this one alone."""
    import torch.distributed as group

    return int(group.get_world_size()) if group.is_available() and group.is_initialized() else 1


@contextmanager
def own_places() -> Iterator[None]:
    """Inside, the environment says of this process what is so, and has no settings of a launcher.

    Without a group this process is alone: variables of places are gone. In a group they are those of the group. The
    first time any were there that do not hold, one line says so.

    Example:
        >>> os.environ["RANK"] = "1"
        >>> with own_places():
        ...     inside = "RANK" in os.environ
        >>> inside, os.environ.pop("RANK")
        (False, '1')
    """
    before = dict(os.environ)
    together = processes() > 1
    gone = [name for name in sorted(before) if (name in PLACES and not together) or name.startswith(SETTINGS)]
    for name in gone:
        del os.environ[name]
    if gone:
        _say(", ".join(gone), "one process trains" if not together else "what is trained is said by tprune's options")
    if together:
        os.environ.update(_places())
    try:
        yield
    finally:
        inside = [name for name in os.environ if name in PLACES or name.startswith(SETTINGS)]  # accelerate sets some
        for name in {*inside, *gone}:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]


def _places() -> dict[str, str]:
    """What accelerate reads of this process in a group; a launcher has said where it lies on its machine."""
    import torch.distributed as group

    rank, size = str(group.get_rank()), str(group.get_world_size())
    local = os.environ.get("LOCAL_RANK", rank)
    there = os.environ.get("LOCAL_WORLD_SIZE", size)
    return {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": local, "LOCAL_WORLD_SIZE": there}


@cache
def _say(names: str, why: str) -> None:
    logging.getLogger("tprune").warning("%s", f"warning: {why}, so these variables of a launcher are ignored: {names}")
