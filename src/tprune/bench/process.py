"""The process of one side of a benchmark, and how it is asked."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tprune.support.errors import USERS, InputError
from tprune.support.machine import child_environment


class Worker:
    """A process that measures one folder; see `tprune.bench.worker`."""

    def __init__(self, folder: Path, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self.folder, self._process, self._errors = folder, process, errors
        self.memory_before_load = 0

    def open(self) -> None:
        """Has the folder opened, once the process is ready. Raises as `ask`."""
        self.memory_before_load = int(self.ask({"do": "open"})["memory_before_load"])

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Sends a request and waits for its reply. Raises `InputError` when the process is dead."""
        with suppress(OSError):  # it died: the reply says why
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._reply()

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            if code < 0:
                raise InputError(
                    f"{self.folder}: the benchmark process was killed (signal {-code}); is there memory for it?"
                )
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines() or ["it said nothing"]
            if code == USERS:
                raise InputError(said[-1])
            raise InputError(f"{self.folder}: the benchmark process ended with code {code}: {said[-1]}")
        reply: dict[str, Any] = json.loads(line)
        return reply


@contextmanager
def worker(folder: Path, threads: int, cores: Sequence[int]) -> Iterator[Worker]:
    """A process for a folder, for as long as the block lasts, which begins to import what it needs.

    Several may import side by side; what is timed begins with `open`, which pins the process to `cores`.
    """
    command = [sys.executable, "-P", "-m", "tprune.bench.worker", str(folder), str(threads), ",".join(map(str, cores))]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            env=child_environment(threads),
        )
        try:
            yield Worker(folder, process, errors)
        finally:
            process.kill()
            process.communicate()
