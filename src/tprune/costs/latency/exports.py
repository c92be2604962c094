"""Exports of many plans before they are timed, in as many processes as there are cores.

Lowering a graph is work of one thread, and takes longer than timing it. What the dense model's export computes is
compared with PyTorch before; these are not compared again, because they are timed and thrown away.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from tprune.core.model import Model
from tprune.core.plan import Plan
from tprune.costs.latency.subject import Subject
from tprune.realise.shrink import shrink
from tprune.support.activity import doing
from tprune.support.machine import default_threads
from tprune.support.plugins import import_named
from tprune.support.reporting import PACE, Report

FEWEST = 3  # exports that a process is worth, which takes some seconds to begin
DONE = "layout.json"


def export_plans(
    subject: Subject, model: Model, plans: Mapping[Path, Plan], report: Report, processes: int | None = None
) -> None:
    """Exports what each plan leaves of a model.

    What another process does not manage is exported here, so that errors are those of this one.

    Args:
        subject: what is timed of the model.
        model: dense.
        plans: by folder; what lies there is replaced.
        report: is told now and then how many there are.
        processes: that share the work; one for every usable core if not given.
    """
    for folder in plans:
        shutil.rmtree(folder, ignore_errors=True)
    count = max(1, min(default_threads() if processes is None else processes, len(plans) // FEWEST))
    shares = _shares(plans, count)
    said = time.monotonic()
    with ExitStack() as others:
        running = [others.enter_context(_started(subject, model, share)) for share in shares[1:]]
        for folder, plan in shares[0].items():
            made = sum((each / DONE).exists() for each in plans)
            with doing(f"plans exported: {made} of {len(plans)}"):
                subject.export(shrink(model, plan), folder, checked=False)
            if time.monotonic() - said >= PACE:
                said = time.monotonic()
                report(f"plans exported: {made + 1} of {len(plans)}")
        with doing(f"plans exported: {len(plans) - count + 1} or more of {len(plans)}"):
            for process in filter(None, running):
                process.wait()
    for folder, plan in plans.items():
        if not (folder / DONE).exists():
            subject.export(shrink(model, plan), folder, checked=False)


def _shares(plans: Mapping[Path, Plan], count: int) -> list[dict[Path, Plan]]:
    """For so many processes, or fewer; neighbors, which may have a graph in common, stay together."""
    every, size = list(plans.items()), -(-len(plans) // count)
    return [dict(every[start : start + size]) for start in range(0, len(every), size)]


@contextmanager
def _started(subject: Subject, model: Model, plans: Mapping[Path, Plan]) -> Iterator[subprocess.Popen[bytes] | None]:
    """A process that exports some plans, and ends with the block; None for what cannot be handed to another process."""
    with tempfile.TemporaryDirectory() as scratch:
        job = Path(scratch) / "job"
        try:
            torch.save((subject, model, dict(plans)), job)
        except (AttributeError, TypeError, pickle.PicklingError):  # a class that a script defines in a function
            yield None
            return
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tprune.costs.latency.exports", str(job)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def main(job: str) -> None:
    """Exports the plans of a file that `_started` has written."""
    import_named()
    subject, model, plans = torch.load(job, weights_only=False)
    for folder, plan in plans.items():
        subject.export(shrink(model, plan), folder, checked=False)


if __name__ == "__main__":
    main(sys.argv[1])
