"""The runner of devices without Python: `onnxruntime_perf_test`, which onnxruntime builds for Android.

A process is one graph of one side, so that turns are of a second, and not of milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.bench.devices.device import CommandError, Device, DeviceError, has, script
from tprune.bench.devices.runner import ROUND_SECONDS, SIZES, Job, Shot, Timed, ended
from tprune.core.graph import Signature
from tprune.runtimes.layout import Layout
from tprune.support.errors import InputError

SECONDS = 1  # that a graph is run for, a turn
DATA = "test_data_set_0"  # the folder beside a graph that the tool reads its inputs from
MEDIAN = re.compile(r"^P50 Latency(?::| is) ([0-9.eE+-]+) ?s", re.MULTILINE)  # newer versions, and older ones
MEMORY = re.compile(r"^Peak working set size: ([0-9]+) bytes", re.MULTILINE)
LINK = 'mkdir -p "$2" && ln -s "$1" "$2/"'


@dataclass(frozen=True)
class PerfTest:
    """See `tprune.bench.devices.runner.Runner`. `tool` is the path of the program on the device."""

    tool: str
    phases: Sequence[str] = tuple(SIZES)
    turns: str = f"sides take turns of {SECONDS} s, each a process of its own, on inputs made up of their sizes"
    logs: Sequence[str] = ()

    def check(self, device: Device) -> Mapping[str, str]:
        """See `Runner`. The tool does not say its version."""
        if not has(device, self.tool):
            raise InputError(
                f"{device.title}: {self.tool} is no program there; expected the path of onnxruntime_perf_test on the "
                "device, with libonnxruntime.so beside it"
            )
        return {"runner": "onnxruntime_perf_test", "onnxruntime": "not said"}

    def files(self, layouts: Mapping[str, Layout], shots: Mapping[str, Shot], made: Path) -> Mapping[str, Path]:
        """See `Runner`: the inputs of every graph, each a file of ONNX."""
        found = {}
        for side, layout in layouts.items():
            for phase, shot in shots.items():
                for number, (name, values) in enumerate(inputs(layout.graph(shot.graph), shot.sizes).items()):
                    inside = f"{side}/{phase}/{DATA}/input_{number}.pb"
                    local = made / inside.replace("/", "-")
                    local.write_bytes(_tensor(name, values))
                    found[inside] = local
        return found

    def begin(self, device: Device, job: Job) -> None:
        """See `Runner`: every phase has a folder with a link to its graph, and its inputs."""
        for side in job.sides:
            for phase, shot in job.shots.items():
                graph = f"{job.place}/{side}/{shot.graph}.onnx"
                device.shell(script(LINK, graph, f"{job.place}/{side}/{phase}"))

    def round(self, device: Device, job: Job) -> Mapping[str, Timed]:
        """See `Runner`."""
        ms: dict[str, dict[str, float]] = {side: {} for side in job.sides}
        peak = dict.fromkeys(job.sides, 0)
        for phase, shot in job.shots.items():
            for side in job.sides:
                text = self._run(device, job, side, f"{job.place}/{side}/{phase}/{shot.graph}.onnx")
                if (median := MEDIAN.search(text)) is None:
                    last = (text.strip().splitlines() or ["nothing"])[-1]
                    raise DeviceError(f"{device.title}: {self.tool} says {last!r}; expected a line `P50 Latency: ...`")
                ms[side][phase] = 1000 * float(median[1])
                if (memory := MEMORY.search(text)) is not None:
                    peak[side] = max(peak[side], int(memory[1]))
        return {side: Timed(ms[side], peak[side]) for side in job.sides}

    def _run(self, device: Device, job: Job, side: str, graph: str) -> str:
        libraries = f"LD_LIBRARY_PATH={PurePosixPath(self.tool).parent}"
        how = ["-e", "cpu", "-m", "duration", "-t", str(SECONDS), "-x", str(job.threads), "-y", "1", "-o", "99", "-s"]
        try:
            return device.shell(["env", libraries, *job.pinned, self.tool, *how, graph], ROUND_SECONDS)
        except CommandError as error:
            raise ended(device, f"{PurePosixPath(self.tool).name} with the {side} model", error) from None


def runner(path: str) -> PerfTest:
    """With the tool of this path on the device. Raises `InputError` where none is given."""
    if not path.startswith("/"):
        raise InputError(f"--runner perf-test:{path}: expected perf-test:PATH, an absolute path on the device")
    return PerfTest(path)


def inputs(graph: Signature, sizes: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Made-up inputs of a graph, as `on_device.py` makes them."""
    chance, found = np.random.RandomState(0), dict[str, NDArray[Any]]()
    for spec in graph.inputs:
        shape = spec.shape(sizes)
        if np.issubdtype(spec.dtype, np.floating):
            found[spec.name] = chance.standard_normal(shape).astype(spec.dtype)
        else:
            found[spec.name] = np.full(shape, spec.fill, spec.dtype)
    return found


def _tensor(name: str, values: NDArray[Any]) -> bytes:
    from onnx import numpy_helper  # here, because it takes a moment

    data: bytes = numpy_helper.from_array(values, name).SerializeToString()
    return data
