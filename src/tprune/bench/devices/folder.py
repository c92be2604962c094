"""A device that is a folder of this machine: its programs run here, its files lie below the folder."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tprune.bench.devices.calls import called
from tprune.bench.devices.device import NOT_FOUND, SECONDS, CommandError, GoneError
from tprune.support.errors import InputError


@dataclass(frozen=True)
class Folder:
    """See `tprune.bench.devices.device.Device`."""

    path: Path

    @property
    def title(self) -> str:
        """See `Device`."""
        return f"folder:{self.path}"

    @property
    def transport(self) -> str:
        """See `Device`."""
        return "folder"

    @property
    def base(self) -> str:
        """See `Device`."""
        return str(self.path)

    def shell(self, words: Sequence[str], seconds: float = SECONDS) -> str:
        """See `Device`."""
        try:
            done = called(words, seconds, self.path)
        except OSError as error:
            said = error.strerror or str(error)
            raise CommandError(f"{self.title}: {words[0]} cannot be run ({said})", NOT_FOUND, said) from None
        if done is None:
            raise GoneError(f"{self.title}: no answer within {seconds:.0f} s to {shlex.join(words)[:60]}")
        if done.code:
            message = f"{self.title}: {words[0]} ended with code {done.code}: {done.last}"
            raise CommandError(message, done.code, done.last)
        return done.out

    def push(self, local: Path, remote: str) -> None:
        """See `Device`."""
        self._copy(local, Path(remote), f"cannot be written to {remote}")

    def pull(self, remote: str, local: Path) -> None:
        """See `Device`."""
        self._copy(Path(remote), local, f"cannot be read from {remote}")

    def free(self, remote: str) -> int | None:
        """See `Device`."""
        return shutil.disk_usage(remote).free

    def _copy(self, source: Path, target: Path, what: str) -> None:
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            said = error.strerror or str(error)
            raise CommandError(f"{self.title}: {target.name} {what} ({said})", 1, said) from None


def connected(which: str) -> Folder:
    """The folder of this path. Raises `InputError` where there is none."""
    if not which or not Path(which).is_dir():
        raise InputError(f"--on folder:{which}: no such folder; expected --on folder:PATH, a folder of this machine")
    return Folder(Path(which).resolve())
