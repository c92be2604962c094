"""A device behind `adb`, Android's debug bridge: its own program is run, once for each command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tprune.bench.devices.calls import Done, called
from tprune.bench.devices.device import SECONDS, CommandError, GoneError, seconds_for
from tprune.support.errors import InputError

ADB = "adb"
READY = "device"  # what `adb devices` says of one that can be used
HELP = {
    "unauthorized": "accept the key of this computer on the device's screen",
    "authorizing": "accept the key of this computer on the device's screen",
    "offline": "plug it in again, or run `adb reconnect offline`",
    "no permissions": "this user may not open the USB device; see `adb devices`",
}
MARK = 7  # an exit code, to see whether exit codes come back
OLD = "adb passes no exit codes of its shell"


@dataclass(frozen=True)
class Adb:
    """See `tprune.bench.devices.device.Device`. `serial` is the number by which `adb devices` lists it."""

    serial: str

    @property
    def title(self) -> str:
        """See `Device`."""
        return f"adb:{self.serial}"

    @property
    def transport(self) -> str:
        """See `Device`."""
        return "adb"

    @property
    def base(self) -> str:
        """See `Device`: the folder in which Android's shell may run programs."""
        return "/data/local/tmp"

    def shell(self, words: Sequence[str], seconds: float = SECONDS) -> str:
        """See `Device`. The device's shell reads one line, so every word is quoted."""
        return self._run(["shell", shlex.join(words)], seconds, words[0])

    def push(self, local: Path, remote: str) -> None:
        """See `Device`."""
        self._run(["push", str(local.resolve()), remote], seconds_for(local.stat().st_size), f"push of {local.name}")

    def pull(self, remote: str, local: Path) -> None:
        """See `Device`."""
        self._run(["pull", remote, str(local.resolve())], SECONDS, f"pull of {remote}")

    def free(self, remote: str) -> int | None:
        """See `Device`: in the table that POSIX gives `df -kP`, the fourth column."""
        try:
            row = self.shell(["df", "-kP", remote]).strip().splitlines()[-1].split()
        except (CommandError, IndexError):
            return None
        return int(row[3]) * 1024 if len(row) > 3 and row[3].isdecimal() else None

    def _run(self, words: Sequence[str], seconds: float, what: str) -> str:
        done = _adb(["-s", self.serial, *words], seconds)
        if done is None:
            raise GoneError(f"{self.title}: no answer within {seconds:.0f} s to {what}; is it plugged in, and awake?")
        if not done.code:
            return done.out
        if (lost := self._lost()) is not None:
            raise GoneError(f"{self.title}: {lost}")
        raise CommandError(f"{self.title}: {what} ended with code {done.code}: {done.last}", done.code, done.last)

    def _lost(self) -> str | None:
        """Why the device cannot be reached any more; None where it can."""
        state = _adb(["-s", self.serial, "get-state"], SECONDS)
        if state is not None and not state.code and state.out.strip() == READY:
            return None
        listed = _listed().get(self.serial)
        return "unplugged, it is not listed any more" if listed is None else _unusable(listed) or "it was away"


def connected(which: str) -> Adb:
    """The device of this serial number, or the only one.

    `ANDROID_SERIAL` stands for a number that is not given, as for adb itself.

    Raises:
        InputError: adb is not installed, or there is no such device, or several, or it cannot be used as it is.
    """
    listed = _listed()
    serial = which or os.environ.get("ANDROID_SERIAL", "")
    there = ", ".join(f"{name} ({state})" for name, state in listed.items())
    if not listed:
        raise InputError(
            f"--on adb{which and f':{which}'}: no device; expected one with USB debugging, that `adb devices` lists"
        )
    if not serial and len(listed) > 1:
        raise InputError(f"--on adb: several devices, {there}; expected --on adb:SERIAL")
    serial = serial or next(iter(listed))
    if serial not in listed:
        raise InputError(f"--on adb:{serial}: no such device; expected one of {there}")
    if (wrong := _unusable(listed[serial])) is not None:
        raise InputError(f"adb:{serial}: {wrong}")
    device = Adb(serial)
    _check_codes(device)
    return device


def _check_codes(device: Adb) -> None:
    """Raises `InputError` where a failure on the device would not be seen."""
    try:
        device.shell(["sh", "-c", f"exit {MARK}"])
    except CommandError as error:
        if error.code == MARK:
            return
        raise
    raise InputError(f"{device.title}: {OLD}; expected Android 7 or newer, and adb of its time")


def _unusable(state: str) -> str | None:
    if state == READY:
        return None
    return f"{state}; {HELP.get(state, f'expected the state {READY} in `adb devices`')}"


def _listed() -> dict[str, str]:
    """The state of each device by its serial number. Raises `InputError` where adb cannot say."""
    done = _adb(["devices", "-l"], SECONDS)
    if done is None or done.code:
        why = f"no answer within {SECONDS:.0f} s" if done is None else done.last
        raise InputError(f"adb devices: {why}; expected a list of devices (try `adb kill-server`)")
    rows = done.out.partition("List of devices attached")[2].splitlines()
    found = {}
    for row in filter(str.strip, rows):
        serial, _, rest = row.partition(" " if " " in row else "\t")
        state = rest.strip()
        words = state.split()
        # "no permissions (user in plugdev group; ...)" is the one state of two words
        found[serial] = "no permissions" if state.startswith("no permissions") else (words or ["unknown"])[0]
    return found


def _adb(words: Sequence[str], seconds: float) -> Done | None:
    """Runs adb itself. Raises `InputError` where it is not installed."""
    try:
        return called([ADB, *words], seconds)
    except OSError as error:
        raise InputError(
            f"--on adb: the program adb cannot be run ({error.strerror or error}); expected Android's platform tools "
            "on the PATH (on Debian `apt-get install adb`)"
        ) from None
