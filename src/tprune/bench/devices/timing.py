"""Timing two exported models on a device, in turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tprune.bench.devices.cores import BIG, Core, chosen, cores_of, pinning
from tprune.bench.devices.device import Device, DeviceError, device_of
from tprune.bench.devices.facts import Weather, conditions_of, facts_of, throttled
from tprune.bench.devices.place import Place
from tprune.bench.devices.result import DeviceResult, on_device
from tprune.bench.devices.runner import Job, Runner, Shot, Timed, runner_of, shots_of
from tprune.bench.harness import check_numbers, kind_of
from tprune.bench.known_phases import measured_for, with_composed
from tprune.bench.requests import TURNS
from tprune.bench.result import Footprint, result_of
from tprune.bench.work import Workload, usual_work
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.layout import LAYOUT, Layout
from tprune.support.activity import doing
from tprune.support.errors import InputError

SIDES = ("dense", "pruned")
FEWEST = 2  # rounds that figures are made of where the device is lost
RUNTIME = "onnxruntime"  # what runners run


@dataclass(frozen=True)
class Where:
    """The device of a benchmark, and how it is used.

    Attributes:
        on: `adb`, `adb:SERIAL` or `folder:PATH`.
        cores: `big`, `little`, or a list such as `4-7`; `big` if not given, where the device can pin at all.
        runner: what runs the models there, see `tprune.bench.devices.runner.RUNNERS`.
        logs: a folder for the logs of the runner.
    """

    on: str
    cores: str | None = None
    runner: str = "python"
    logs: Path | None = None


@dataclass
class Measured:
    """The rounds that were measured, what the device was like in each, and why there are no more."""

    rounds: list[Mapping[str, Timed]] = field(default_factory=list)
    weather: list[Weather] = field(default_factory=list)
    broken: str | None = None


@dataclass(frozen=True)
class Side:
    """An exported folder and its layout."""

    folder: Path
    layout: Layout


def bench_on(
    where: Where,
    dense: Path,
    pruned: Path,
    threads: int = 1,
    batch: int = 1,
    rounds: int = 12,
    work: Workload | None = None,
) -> DeviceResult:
    """Measures two exported folders on a device, on inputs made up of their sizes.

    Both sides take turns in every round. Where the device is lost half-way, the result is of the rounds until then, and
    says so (`broken`).

    Args:
        where: the device.
        dense: the folder of the dense model.
        pruned: that of the pruned one.
        threads: cores one operation may use.
        batch: inputs in one pass.
        rounds: how often all is measured; at least 4, and even.
        work: lengths and phases; `tprune.bench.work.usual_work` if not given.

    Raises:
        InputError: a folder, number or device cannot be used, or the device was lost within the first two rounds.

    Example:
        ```python
        bench_on(Where("adb"), Path("dense"), Path("small")).speedup["decoder_step"]  # 1.9
        ```
    """
    check_numbers(batch, rounds, work or Workload())
    runner = runner_of(where.runner)
    work = _work([dense, pruned], runner, where, work)
    sides = {name: _side(folder) for name, folder in zip(SIDES, (Path(dense), Path(pruned)), strict=True)}
    shots, _ = (shots_of(side.layout, work.measures, work, batch) for side in sides.values())  # of one kind: equal
    device = device_of(where.on)
    there = cores_of(device)
    cores = chosen(there, where.cores or BIG, threads)
    pinned = pinning(device, cores, where.cores)
    facts = {**facts_of(device), **_of_cores(there), "pinned_to": [core.number for core in cores if pinned]}
    machine = facts | dict(runner.check(device))
    job = Job("", SIDES, shots, threads, tuple(pinned), TURNS)
    measured = _measured(device, runner, job, sides, cores, rounds, where.logs)
    return _result(measured, sides, work, threads, batch, machine, runner.turns)


def _measured(
    device: Device,
    runner: Runner,
    job: Job,
    sides: Mapping[str, Side],
    cores: Sequence[Core],
    rounds: int,
    logs: Path | None,
) -> Measured:
    """All that is done on the device. Raises `DeviceError` where too few rounds come of it."""
    with TemporaryDirectory() as made, Place(device) as place:
        job = replace(job, place=place.path)
        place.hand_over(_files(sides, job.shots, runner, Path(made)))
        runner.begin(device, job)
        try:
            measured = _rounds(device, runner, job, cores, rounds)
        finally:
            if logs is not None:
                place.take_back(runner.logs, logs)
        if measured.broken and len(measured.rounds) < FEWEST:
            raise DeviceError(measured.broken)
    if place.left:
        measured.broken = f"{measured.broken or 'the device does not answer'}; {place.path} is left there"
    return measured


def _work(folders: Iterable[Path], runner: Runner, where: Where, work: Workload | None) -> Workload:
    """What is timed. Raises `InputError` for models of two kinds, and phases that the runner cannot time."""
    layout = kind_of(list(map(Path, folders)), False)
    work = work or usual_work(layout.phases, layout.limits)
    phases = measured_for(work.measures or [name for name in layout.phases if name in runner.phases])
    if strange := [name for name in phases or layout.phases if name not in runner.phases]:
        raise InputError(
            f"--runner {where.runner} does not time {', '.join(strange)}; expected some of {', '.join(runner.phases)}"
        )
    return replace(work, measures=phases)


def _side(folder: Path) -> Side:
    """Raises `InputError` for a folder that no runner runs."""
    layout = read_layout(folder)
    if layout.runtime != RUNTIME:
        raise InputError(f"{folder}: exported for {layout.runtime}; expected {RUNTIME}, which runs on devices")
    return Side(folder, layout)


def _of_cores(cores: Sequence[Core]) -> dict[str, Any]:
    """What a result says of a device's cores."""
    governors = sorted({core.governor for core in cores if core.governor})
    highest = {str(core.number): core.highest / 1000 for core in cores if core.highest}
    return {"cores": len(cores), "governor": " / ".join(governors) or None, "core_mhz": highest}


def _files(sides: Mapping[str, Side], shots: Mapping[str, Shot], runner: Runner, made: Path) -> dict[str, Path]:
    """Everything that is handed over: local files by their path in the job's folder."""
    found: dict[str, Path] = {}
    for name, side in sides.items():
        (made / name).mkdir()
        side.layout.write(made / name)  # of folders of earlier versions too, in today's form
        found[f"{name}/{LAYOUT}"] = made / name / LAYOUT
        for graph in side.layout.graphs:
            found[f"{name}/{graph.name}.onnx"] = side.folder / f"{graph.name}.onnx"
    return found | dict(runner.files({name: side.layout for name, side in sides.items()}, shots, made))


def _rounds(device: Device, runner: Runner, job: Job, cores: Sequence[Core], rounds: int) -> Measured:
    """All rounds, or those until the device or the runner failed."""
    found = Measured()
    for number in range(rounds):
        turn = replace(job, sides=job.sides[:: -1 if number % 2 else 1])
        with doing(f"timing 2 models on {device.title}: round {number + 1} of {rounds}"):
            try:
                before = conditions_of(device, job.pinned, cores)
                times = runner.round(device, turn)
                found.weather.append(Weather(before, conditions_of(device, job.pinned, cores)))
                found.rounds.append(times)
            except DeviceError as error:
                found.broken = f"{error} (in round {number + 1} of {rounds})"
                break
    return found


def _result(
    measured: Measured,
    sides: Mapping[str, Side],
    work: Workload,
    threads: int,
    batch: int,
    machine: Mapping[str, Any],
    turns: str,
) -> DeviceResult:
    """The figures of the rounds."""
    times, footprint = {}, {}
    for name, side in sides.items():
        mine = [each[name] for each in measured.rounds]
        times[name] = with_composed({phase: [x.ms[phase] for x in mine] for phase in work.measures}, work.new_tokens)
        on_disk = sum(file.stat().st_size for file in side.folder.iterdir() if file.is_file())
        peak, before = max(x.peak for x in mine), max(x.before for x in mine)
        footprint[name] = Footprint(0.0, on_disk, peak, before, side.layout.parameters, side.layout.macs)
    warnings = throttled(measured.weather)
    if not machine["pinned_to"]:
        warnings.append("not pinned to cores: the device has no taskset")
    if measured.broken:
        warnings.append(f"{measured.broken}; the figures are of the {len(measured.rounds)} rounds before")
    found = result_of(times, footprint, threads, batch, work, RUNTIME)
    more = {"protocol": f"new processes in every round; {turns}", "conditions": measured.weather}
    return on_device(found, machine, **more, warnings=warnings, broken=measured.broken)
