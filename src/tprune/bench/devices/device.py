"""A device: what can be asked of it, and how `--on` names it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from tprune.support.errors import InputError, OptionError
from tprune.support.registry import Registry

SECONDS = 60.0  # that a command on the device may take, where nothing else is said
SLOWEST = 1e6  # bytes a second of a file that is handed over
NOT_FOUND = 127  # the exit code of a shell that finds no such program
SIGNALS = 128  # what a shell adds to the signal that ended a program


class DeviceError(InputError):
    """Something on the device, or on the way to it, failed."""


class GoneError(DeviceError):
    """The device does not answer any more: unplugged, offline, or it takes too long."""


class CommandError(DeviceError):
    """A command ended with another code than 0 on a device that still answers.

    Attributes:
        code: its exit code; 128 and the signal's number where it was killed.
        said: the last line that it wrote.
    """

    def __init__(self, message: str, code: int, said: str) -> None:
        super().__init__(message)
        self.code, self.said = code, said

    @property
    def signal(self) -> int | None:
        """The signal that killed it; None where it ended by itself."""
        return self.code - SIGNALS if self.code > SIGNALS else None


class Device(Protocol):
    """A machine with a POSIX shell, and files that are handed over. Paths on it are absolute."""

    @property
    def title(self) -> str:
        """What messages call it."""
        ...

    @property
    def transport(self) -> str:
        """How it is reached, as results have it: without what identifies one device of many."""
        ...

    @property
    def base(self) -> str:
        """A folder on it that files may be written below and programs be run in."""
        ...

    def shell(self, words: Sequence[str], seconds: float = SECONDS) -> str:
        """What a command writes to its standard output.

        Args:
            words: the program and its arguments; shell characters in them are data.
            seconds: after which it counts as hanging.

        Raises:
            CommandError: it ended with another code than 0.
            GoneError: the device does not answer.
        """
        ...

    def push(self, local: Path, remote: str) -> None:
        """Copies a file to the device. Raises `DeviceError`."""
        ...

    def pull(self, remote: str, local: Path) -> None:
        """Copies a file from the device. Raises `DeviceError`."""
        ...

    def free(self, remote: str) -> int | None:
        """Bytes that are free in a folder of the device; None where it does not say."""
        ...


DEVICES: Registry[Callable[[str], Device]] = Registry(
    "device",
    "tprune.devices",
    {"adb": "tprune.bench.devices.adb:connected", "folder": "tprune.bench.devices.folder:connected"},
)


def device_of(name: str) -> Device:
    """The device that `--on` names: a kind, and after a colon which one of it.

    Raises:
        OptionError: there is no such kind of device.
        InputError: there is no such device.
    """
    kind, _, which = name.partition(":")
    if kind not in DEVICES:
        raise OptionError(f"--on {name!r:.80}: no kind of device; expected {', '.join(sorted(DEVICES))}")
    return DEVICES[kind](which)


def script(text: str, *arguments: str) -> list[str]:
    """The words of a shell command from a script and its arguments, which it knows as $1, $2, ..."""
    return ["sh", "-c", text, "sh", *arguments]


def has(device: Device, program: str) -> bool:
    """Whether the device has a program of this name or path."""
    try:
        device.shell(script('command -v "$1"', program))
    except CommandError:
        return False
    return True


def seconds_for(size: int) -> float:
    """How long handing over a file of so many bytes may take."""
    return SECONDS + size / SLOWEST
