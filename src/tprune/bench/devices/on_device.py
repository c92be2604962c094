"""What runs on a device: two exported folders are timed there in turns, for one round.

It is handed over as a file, and needs Python 3.8, numpy and onnxruntime; nothing of tprune.

`on_device.py check` writes which versions there are, `on_device.py round JOB` does a round, and `on_device.py side
FOLDER THREADS` is what it starts for each folder: it answers requests, one line of JSON each. `JOB` is JSON: `sides`
(names of folders, in turn), `place` (where they lie), `phases` (of each its `graph` and the `sizes` of its inputs),
`threads`, `turns`, and the `seconds` after which the round ends itself, should nobody wait for it any more.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Iterable  # noqa: UP035  # of Python 3.8

SPENT_MS = 25.0  # how long one turn of a phase lasts, roughly
MOST = 500


def memory(field: str = "VmHWM:") -> int:
    """The most memory this process ever had resident, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0


def milliseconds(run: Callable[[], Any], repeats: int) -> list[float]:
    """Of each of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def visit(run: Callable[[], Any]) -> float:
    """The median of as many runs as last `SPENT_MS`, at least 1, after one that is not counted."""
    first = milliseconds(run, 1)[0]
    return statistics.median(milliseconds(run, max(1, min(MOST, int(SPENT_MS / max(first, 1e-3))))))


def inputs(graph: dict[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    """Made-up inputs of a graph: noise where they are numbers, the usual value where they are whole ones."""
    import numpy

    chance, found = numpy.random.RandomState(0), {}
    for each in graph["inputs"]:
        shape = [sizes[dim] if isinstance(dim, str) else dim for dim in each["dims"]]
        if each["dtype"].startswith("float"):
            found[each["name"]] = chance.standard_normal(shape).astype(each["dtype"])
        else:
            found[each["name"]] = numpy.full(shape, each["fill"], each["dtype"])
    return found


def session(path: Path, threads: int) -> Any:
    """An onnxruntime session as tprune opens one."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")  # sessions take turns
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def side(folder: Path, threads: int) -> None:
    """Opens a folder and answers requests until standard input ends."""
    import numpy  # noqa: F401  # its memory is not the model's

    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply
    before = memory()
    graphs = {graph["name"]: graph for graph in json.loads((folder / "layout.json").read_text())["graphs"]}
    sessions = {name: session(folder / (name + ".onnx"), threads) for name in graphs}
    print(json.dumps({"before": before}), file=replies, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "graph" in asked:
            graph = graphs[asked["graph"]]
            feeds, opened = inputs(graph, asked["sizes"]), sessions[asked["graph"]]
            reply = {"ms": visit(lambda: opened.run(graph["outputs"], feeds))}  # noqa: B023  # run at once
        else:
            reply = {"peak": memory()}
        print(json.dumps(reply), file=replies, flush=True)


class DiedError(Exception):
    """A side's process has ended."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(name)
        self.name, self.code = name, code


class Side:
    """The process of one folder; what it writes beside its replies goes to `FOLDER.log`."""

    def __init__(self, place: Path, name: str, threads: int) -> None:
        self.name = name
        with (place / (name + ".log")).open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", __file__, "side", str(place / name), str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                universal_newlines=True,
            )
        self.before = self.reply()["before"]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Sends a request, and waits for its reply."""
        with suppress(OSError):  # it died: the reply says so
            print(json.dumps(request), file=self.process.stdin, flush=True)
        return self.reply()

    def reply(self) -> dict[str, Any]:
        """The next reply. Raises `DiedError` where there is none."""
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise DiedError(self.name, self.process.wait())
        found: dict[str, Any] = json.loads(line)
        return found


def in_turns(names: Iterable[str], number: int) -> list[str]:
    """Forwards and backwards in turn."""
    return list(names)[:: -1 if number % 2 else 1]


def times_of(job: dict[str, Any], sides: dict[str, Side]) -> dict[str, Any]:
    """A round: milliseconds of every phase, a mean over its turns, and the memory of both sides."""
    found: dict[str, Any] = {}
    for name in job["sides"]:
        sides[name] = Side(Path(job["place"]), name, job["threads"])
        found[name] = {"before": sides[name].before, "ms": {}}
    for phase, asked in job["phases"].items():
        said: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(job["turns"]):
            for name in in_turns(sides, turn):
                said[name].append(sides[name].ask(asked)["ms"])
        for name, each in said.items():
            found[name]["ms"][phase] = sum(each) / len(each)
    for name, opened in sides.items():
        found[name]["peak"] = opened.ask({})["peak"]
    return {"sides": found}


def one_round(job: dict[str, Any]) -> dict[str, Any]:
    """The times of a round, or which side's process has ended, and how."""
    signal.alarm(job["seconds"])
    sides: dict[str, Side] = {}
    try:
        return times_of(job, sides)
    except DiedError as died:
        return {"died": died.name, "code": died.code}
    finally:
        for opened in sides.values():
            opened.process.kill()


def check() -> dict[str, str]:
    """The versions of what is needed; what is missing has an empty one."""
    found = {"python": platform.python_version()}
    for name in ("numpy", "onnxruntime"):
        try:
            found[name] = __import__(name).__version__
        except ImportError:
            found[name] = ""
    return found


def main(arguments: list[str]) -> int:
    """Does what the first argument says."""
    if arguments[0] == "side":
        side(Path(arguments[1]), int(arguments[2]))
    else:
        print(json.dumps(check() if arguments[0] == "check" else one_round(json.loads(arguments[1]))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
