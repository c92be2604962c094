"""One side of a benchmark: a process with one exported model, which measures what its standard input asks for.

Run as `python -m tprune.bench.worker FOLDER THREADS CORES`; `CORES` are those it is pinned to ("2,3"; none where it is
empty). A request is one line of JSON on standard input, a reply one line
on standard output; an error is one line on standard error, and the end of the process.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tprune.bench.known_phases import PHASES
from tprune.bench.phases import measure
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.opened import Opened, open_exported
from tprune.runtimes.runtime import RUNTIMES
from tprune.support.errors import USERS, InputError
from tprune.support.plugins import NAMES, import_named


def peak_memory() -> int:
    """The most memory this process ever had resident, in bytes."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def reply(opened: Opened, request: Mapping[str, Any]) -> dict[str, float]:
    """Does one request: a phase, or `memory`."""
    return {"bytes": peak_memory()} if request["do"] == "memory" else measure(opened, request)


def _of_others(folder: Path) -> bool:
    """Whether running a folder needs what plugins enter: most enter classes of models, and take seconds to import."""
    layout = read_layout(folder)
    return layout.runtime not in RUNTIMES or bool(set(layout.phases) - set(PHASES))


def _pin(cores: set[int]) -> None:
    """Keeps all threads of the process, those of imported libraries too, on some cores."""
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def main(arguments: list[str]) -> int:
    """Imports what it needs, opens the folder when it is asked to, and answers until standard input ends."""
    folder, threads, cores = arguments
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries and plugins print is no reply
    before = peak_memory()
    try:
        if os.environ.get(NAMES) and _of_others(Path(folder)):
            import_named()
        sys.stdin.readline()  # the request to open it
        if cores:
            _pin({int(core) for core in cores.split(",")})
        opened = open_exported(folder, int(threads))
        print(json.dumps({"memory_before_load": before}), file=replies, flush=True)
        for line in sys.stdin:
            print(json.dumps(reply(opened, json.loads(line))), file=replies, flush=True)
    except Exception as error:  # the parent shows the last line of standard error
        text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        print(" ".join(text.split()), file=sys.stderr, flush=True)
        return USERS if isinstance(error, InputError) else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
