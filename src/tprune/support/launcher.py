"""What a launcher of several processes, such as torchrun, tells each of them; and how they find each other."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from tprune.support.errors import InputError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

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
LAUNCHED = "TORCHELASTIC_RUN_ID"  # torchrun sets it, and so does `accelerate launch` for several processes
WAIT = 60.0  # seconds in which all processes have to be there


@dataclass(frozen=True)
class Seat:
    """The place of this process among those that were launched together.

    Attributes:
        rank: from 0; process 0 leads.
        size: how many there are.
        address: where they meet, as HOST:PORT.
    """

    rank: int
    size: int
    address: str

    @property
    def name(self) -> str:
        """For messages, such as `process 2 of 2`."""
        return f"process {self.rank + 1} of {self.size}"


def seat(environment: Mapping[str, str] | None = None) -> Seat | None:
    """The place that a launcher gave this process; None where none did, or it launched this one alone.

    Numbers that an earlier launcher left behind are none of a launcher: it would say its own name, and be there to be
    met.

    Args:
        environment: of the process (default: its own).

    Raises:
        InputError: the launcher gave numbers that cannot be.

    Example:
        >>> seat({"RANK": "0", "WORLD_SIZE": "2"}) is None
        True
    """
    given = os.environ if environment is None else environment
    if not given.get(LAUNCHED):
        return None
    numbers = [given.get(name, "") for name in ("RANK", "WORLD_SIZE", "MASTER_PORT")]
    host = given.get("MASTER_ADDR", "")
    if not host or not all(number.isdecimal() for number in numbers) or int(numbers[0]) >= int(numbers[1]):
        said = ", ".join(f"{name}={given.get(name)!r}" for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))
        raise InputError(f"{LAUNCHED} is set, as torchrun does, but with {said}; start with torchrun, or unset it")
    found = Seat(int(numbers[0]), int(numbers[1]), f"{host}:{numbers[2]}")
    if found.size == 1 or (given.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and not _listens(host, int(numbers[2]))):
        return None
    return found


def _listens(host: str, port: int) -> bool:
    """Whether anybody is there: torchrun is, before it starts a process."""
    try:
        with socket.create_connection((host, port), timeout=10):
            return True
    except OSError:
        return False


def meet(mine: Seat, wait: float = WAIT) -> Store:
    """Waits for all processes that were launched with this one, and returns what they tell each other by.

    Args:
        mine: the place of this process.
        wait: seconds.

    Raises:
        InputError: not all were there in time.
    """
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    limit = timedelta(seconds=wait)
    try:
        store: Store = next(iter(rendezvous("env://", timeout=limit)))[0]
        store = PrefixStore("tprune", store)
        store.set(f"here/{mine.rank}", "1")
        store.wait([f"here/{rank}" for rank in range(mine.size)], limit)
    except (RuntimeError, OSError, ValueError):  # each of torch's errors of groups is a RuntimeError
        raise InputError(
            f"{mine.name}: not all {mine.size} processes were at {mine.address} within {wait:g} s; start them with one "
            f"launcher (torchrun --nproc_per_node {mine.size}), or unset {LAUNCHED}, RANK and WORLD_SIZE to use one"
        ) from None
    return store
