"""The runner of devices that have Python, numpy and onnxruntime: a script of ours does a round at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tprune.bench.devices.device import CommandError, Device, DeviceError, has
from tprune.bench.devices.runner import ROUND_SECONDS, SIZES, Job, Shot, Timed, ended, killed
from tprune.runtimes.layout import Layout
from tprune.support.errors import InputError

PYTHON = "python3"
SCRIPT = Path(__file__).parent / "on_device.py"
NEEDS = "expected Python with numpy and onnxruntime (--runner python:PATH), or --runner perf-test:PATH"
LATE = 30  # seconds after which a round that should have ended itself counts as hanging


@dataclass(frozen=True)
class PythonRunner:
    """See `tprune.bench.devices.runner.Runner`. `python` is the interpreter on the device."""

    python: str = PYTHON
    phases: Sequence[str] = tuple(SIZES)
    turns: str = "sides take turns of milliseconds, each a process of its own, on inputs made up of their sizes"
    logs: Sequence[str] = ("dense.log", "pruned.log")

    def check(self, device: Device) -> Mapping[str, str]:
        """See `Runner`."""
        if not has(device, self.python):
            raise InputError(f"{device.title}: has no {self.python}; {NEEDS}")
        try:
            found = _reply(device, [self.python, "-c", SCRIPT.read_text(encoding="utf-8"), "check"])
        except CommandError as error:
            raise InputError(f"{device.title}: {self.python} cannot be used ({error.said}); {NEEDS}") from None
        if missing := [name for name, version in found.items() if not version]:
            raise InputError(f"{device.title}: {self.python} has no {' and no '.join(missing)}; {NEEDS}")
        return {"runner": "python", **found}

    def files(self, layouts: Mapping[str, Layout], shots: Mapping[str, Shot], made: Path) -> Mapping[str, Path]:
        """See `Runner`: the script."""
        return {SCRIPT.name: SCRIPT}

    def begin(self, device: Device, job: Job) -> None:
        """See `Runner`: nothing."""

    def round(self, device: Device, job: Job) -> Mapping[str, Timed]:
        """See `Runner`."""
        asked = {
            "place": job.place,
            "sides": list(job.sides),
            "phases": {name: shot.as_dict() for name, shot in job.shots.items()},
            "threads": job.threads,
            "turns": job.turns,
            "seconds": ROUND_SECONDS,
        }
        command = [*job.pinned, self.python, f"{job.place}/{SCRIPT.name}", "round", json.dumps(asked)]
        try:
            found = _reply(device, command, ROUND_SECONDS + LATE)
        except CommandError as error:
            raise ended(device, "the runner", error) from None
        if (side := found.get("died")) is not None:
            raise _died(device, job, side, found["code"])
        return {name: Timed(each["ms"], each["peak"], each["before"]) for name, each in found["sides"].items()}


def runner(path: str) -> PythonRunner:
    """With the interpreter of this path on the device, or the usual one."""
    return PythonRunner(path or PYTHON)


def _reply(device: Device, command: Sequence[str], seconds: float = ROUND_SECONDS) -> Any:
    """The JSON in the last line that the script writes."""
    lines = device.shell(command, seconds).strip().splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        raise DeviceError(f"{device.title}: the runner answered {lines[-1:]}; expected a line of JSON") from None


def _died(device: Device, job: Job, side: str, code: int) -> DeviceError:
    """What to say of a side's process that has ended."""
    who = f"{device.title}: the process of the {side} model"
    if code < 0:
        return DeviceError(f"{who} {killed(-code)}")
    said = ["it said nothing"]
    with TemporaryDirectory() as folder, suppress(DeviceError):
        device.pull(f"{job.place}/{side}.log", log := Path(folder) / "log")
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or said
    return DeviceError(f"{who} ended with code {code}: {said[-1]}")
