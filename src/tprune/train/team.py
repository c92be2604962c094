"""Several processes, one command: process 0 does all of it, and the others help with every training.

A launcher (`torchrun`, `accelerate launch`) starts the same command several times. Process 0 leads: it reads, measures,
cuts, writes and reports as if it were alone. The others wait; whenever it trains, they get the training with its model
and data, take part in every step, and forget it.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from tprune.support.devices import Placement, placement, use_device
from tprune.support.errors import DivergedError, InputError, printable
from tprune.support.launcher import LAUNCHED, WAIT, Seat, meet
from tprune.support.plugins import NAMES, import_plugins

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

PAUSE = 0.2  # seconds between two looks for work: nobody else is kept from a core that is being timed
LONG = timedelta(days=1)  # until a step counts as hanging; a process that is gone is noticed at once
END = "end"


class Everywhere(Protocol):
    """A callback that every process of a training needs, because it changes weights.

    Attributes:
        everywhere: true.
    """

    everywhere: ClassVar[bool]


class Work(Protocol):
    """What processes do together."""

    def for_others(self) -> Work:
        """The part of those that do not lead."""
        ...

    def carry_out(self) -> object:
        """Does it."""
        ...


@dataclass
class Team:
    """The processes of one command, seen from one of them.

    Attributes:
        seat: the place of this one.
        store: what they tell each other by.
        works: how often they have worked together.
    """

    seat: Seat
    store: Store
    works: int = 0

    def call(self, work: Work) -> None:
        """Gives all others their part of a work, which this process then carries out too.

        Raises:
            InputError: it cannot be sent.
        """
        import torch
        import torch.distributed as group

        packed = io.BytesIO()
        try:
            torch.save(work.for_others(), packed)
        except Exception as error:  # what cannot be pickled says so in many ways
            raise InputError(
                f"{self.seat.name}: the training cannot be sent to the others ({type(error).__name__}: {error}); "
                "expected a model, data and task of importable classes; start one process instead"
            ) from None
        where = placement()
        note = {"bytes": packed.tell(), "device": where.device, "sharded": where.sharded}
        note["plugins"] = os.environ.get(NAMES, "")
        self.store.set(f"work/{self.works}", json.dumps(note))
        self._gather(where)
        group.broadcast(torch.frombuffer(packed.getbuffer(), dtype=torch.uint8), 0)

    def called(self) -> Work | None:
        """Waits for the next work; None once the command has ended."""
        import torch
        import torch.distributed as group

        while not self.store.check([f"work/{self.works}"]):
            if self.store.check([END]):
                return None
            time.sleep(PAUSE)
        note: dict[str, Any] = json.loads(self.store.get(f"work/{self.works}"))
        import_plugins([name for name in note["plugins"].split(",") if name])
        self._gather(use_device(note["device"], note["sharded"]))
        packed = torch.empty(note["bytes"], dtype=torch.uint8)
        group.broadcast(packed, 0)
        work: Work = torch.load(io.BytesIO(packed.numpy().tobytes()), weights_only=False)  # of our own process 0
        return work

    def _gather(self, where: Placement) -> None:
        """Makes the process group, once."""
        import torch.distributed as group
        from torch.distributed.distributed_c10d import PrefixStore

        self.works += 1
        if not group.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if where.device == "cuda" else "gloo"
            store = PrefixStore("group", self.store)
            group.init_process_group(backend, store=store, rank=self.seat.rank, world_size=self.seat.size, timeout=LONG)


_leading: list[Team] = []


def leading() -> Team | None:
    """The team that this process leads; None where it is alone, or no launcher's."""
    return _leading[0] if _leading else None


def as_team(seat: Seat, command: Callable[[], None], wait: float = WAIT) -> None:
    """Does a command with all processes that a launcher started for it.

    Args:
        seat: the place of this process; the first does the command.
        command: what process 0 does.
        wait: seconds until all have to be there.

    Raises:
        InputError: not all were there in time.
    """
    team = Team(seat, meet(seat, wait))
    os.environ.pop(LAUNCHED, None)  # processes that this one starts are none of them
    if seat.rank:
        sys.exit(_follow(team))
    _leading.append(team)
    try:
        command()
    finally:
        _leading.clear()
        _part(team)


def _follow(team: Team) -> int:
    """Helps until the command ends; what process 0 meets too, it says. Returns the exit code."""
    from tprune.support.machine import use_threads

    logging.getLogger("tprune").setLevel(logging.ERROR)
    use_threads()
    try:
        while (work := team.called()) is not None:
            try:
                work.carry_out()
            except DivergedError:  # in all processes at once
                continue
    except Exception as error:
        if _ended(team):  # process 0 says how
            return 0
        print(printable(f"tprune: {team.seat.name}: {type(error).__name__}: {error}"), file=sys.stderr)
        return 1
    finally:
        _part(team)
    return 0


def _ended(team: Team) -> bool:
    try:
        return team.store.check([END])
    except RuntimeError:  # the store is gone, and so is the launcher
        return True


def _part(team: Team) -> None:
    """Tells the others that the command has ended, and leaves the group."""
    import torch.distributed as group

    try:
        if not team.seat.rank:
            team.store.set(END, "1")
        if group.is_initialized():
            group.destroy_process_group()
    except RuntimeError:  # the launcher is gone
        pass
