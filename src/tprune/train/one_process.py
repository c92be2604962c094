"""One process trains: variables that a launcher left in the environment would make it wait for others."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from tprune.support.errors import InputError

# what accelerate takes for the place of this process among others: torchrun's, MPI's, Slurm's by way of PMI
PLACES = (
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "ROLE_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "PMI_RANK",
    "PMI_SIZE",
    "MPI_LOCALRANKID",
    "MPI_LOCALNRANKS",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MV2_COMM_WORLD_RANK",
    "MV2_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "MV2_COMM_WORLD_LOCAL_SIZE",
)
SETTINGS = ("ACCELERATE_", "FSDP_", "PARALLELISM_CONFIG_")  # of `accelerate launch`, which would change what is trained


@contextmanager
def one_process() -> Iterator[None]:
    """Inside, the environment has no variables of a launcher; the first time any were there, one line says so.

    Raises:
        InputError: this process is one of several already.

    Example:
        >>> os.environ["RANK"] = "1"
        >>> with one_process():
        ...     inside = "RANK" in os.environ
        >>> inside, os.environ.pop("RANK")
        (False, '1')
    """
    import torch.distributed as group

    if group.is_available() and group.is_initialized() and group.get_world_size() > 1:
        raise InputError(
            f"this is one of {group.get_world_size()} processes (torch.distributed); tprune trains in one: start "
            "it without a launcher"
        )
    gone = {name: os.environ.pop(name) for name in sorted(os.environ) if name in PLACES or name.startswith(SETTINGS)}
    if gone:
        _say(", ".join(gone))
    try:
        yield
    finally:
        os.environ.update(gone)


@cache
def _say(names: str) -> None:
    logging.getLogger("tprune").warning(
        "%s", f"warning: one process trains, so these variables of a launcher are ignored: {names}"
    )
