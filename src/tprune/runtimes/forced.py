"""Forced steps: what an exported model makes of given tokens, here or in a process that has done nothing before.

Run as `python -m tprune.runtimes.forced FOLDER WORK COUNT`: `WORK` holds `given-0.npz` and so on, and gets
`found-0.npy`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.opened import Opened, open_exported
from tprune.runtimes.runtime import RUNTIMES, Array
from tprune.runtimes.transcriber import Transcriber
from tprune.runtimes.translator import Translator
from tprune.support.errors import USERS, CertificateError, InputError
from tprune.support.machine import child_environment
from tprune.support.plugins import NAMES, import_named
from tprune_runtime.decoding import Floats

STEPS = 48  # from an empty cache; faults that begin at some length of it show by then
FED = "fed"  # the tokens that a decoder is fed, one a step
CHUNK = "chunk"  # how many of them in a step
Job = Mapping[str, Array]
Replay = Callable[[Sequence[Job]], Sequence[Floats]]


def forced(opened: Opened, job: Job) -> Floats:
    """The logits of one job: a pass over inputs by name; where it has `fed`, steps from an empty cache."""
    if FED not in job:
        return opened.logits(job) if isinstance(opened, OnePass) else _refused(opened)
    fed = job[FED]
    if isinstance(opened, Transcriber):
        return opened.forced(job[opened.features.name], fed)
    if isinstance(opened, Translator):
        rows = zip(job["input_ids"].tolist(), job["attention_mask"].sum(1).tolist(), strict=True)
        return opened.forced([row[:length] for row, length in rows], fed)
    state, size = opened.start(len(fed)), int(job[CHUNK])
    parts = [state.logits(fed[:, start : start + size]) for start in range(0, fed.shape[1], size)]
    return np.concatenate(parts, 1)


def _refused(opened: Translator | Transcriber) -> Floats:
    raise InputError(f"a model for {opened.layout.task} is not run in one pass; expected {FED}")


def here(folder: Path) -> Replay:
    """Does jobs in this process, the folder opened anew for each."""
    return lambda jobs: [forced(open_exported(folder), job) for job in jobs]


def fresh(folder: Path) -> Replay:
    """Does jobs in a process that has done nothing before, the folder opened anew for each."""
    return lambda jobs: _in_process(folder, jobs)


def in_process_of_its_own(runtime: str) -> bool:
    """Whether a process that is started from here knows a runtime.

    It does not know one that was entered here by no plugin.
    """
    return runtime not in RUNTIMES.entered or bool(os.environ.get(NAMES))


def replay_of(folder: Path, runtime: str) -> Replay:
    """Does jobs in a fresh process where that knows the runtime of the folder, else in this one."""
    return fresh(folder) if in_process_of_its_own(runtime) else here(folder)


def _in_process(folder: Path, jobs: Sequence[Job]) -> list[Floats]:
    with tempfile.TemporaryDirectory() as work:
        for number, job in enumerate(jobs):
            np.savez(Path(work) / f"given-{number}.npz", allow_pickle=False, **job)
        command = [sys.executable, "-P", "-m", __name__, str(folder), work, str(len(jobs))]
        done = subprocess.run(command, env=child_environment(1), capture_output=True, text=True, errors="replace")
        if done.returncode:
            ended = done.returncode < 0  # by a signal, of which its lines say nothing
            lines = [] if ended else done.stderr.strip().splitlines()
            said = (lines or [f"it ended with code {done.returncode}"])[-1]
            if done.returncode == USERS:
                raise InputError(said)
            raise CertificateError(f"{folder}: cannot be run in a process of its own: {said}")
        return [np.load(Path(work) / f"found-{number}.npy") for number in range(len(jobs))]


def main(arguments: Sequence[str]) -> int:
    """Does the jobs in a folder; an error of the user is one line on standard error."""
    folder, work, count = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    try:
        import_named()
        for number in range(count):
            with np.load(work / f"given-{number}.npz") as given:
                job = {name: given[name] for name in given.files}
            np.save(work / f"found-{number}.npy", forced(open_exported(folder), job))
    except InputError as error:
        print(error, file=sys.stderr)
        return USERS
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
