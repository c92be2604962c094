"""Running a program that may hang: it and what it started are ended after a time."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tprune.bench.devices.device import SIGNALS


@dataclass(frozen=True)
class Done:
    """What a program left: its exit code (128 and the signal's number where it was killed), and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line of its errors, or of its output where it wrote none."""
        lines = [line.strip() for text in (self.out, self.err) for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"


def called(command: Sequence[str], seconds: float, folder: Path | None = None) -> Done | None:
    """Runs a program to its end; None where it takes longer than `seconds`, and is ended.

    Its output goes to files: a pipe that something it started keeps open would never end.

    Raises:
        OSError: there is no such program.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, start_new_session=True
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    return Done(code if code >= 0 else SIGNALS - code, *texts)
