"""Times sizes in turns in a runtime."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from tprune.core.precision import Precision
from tprune.costs.multiples.choice import Chosen, chosen, ratios_of
from tprune.costs.multiples.probes import PROBES, Probe
from tprune.runtimes.layout import Layout
from tprune.runtimes.runtime import Array, GraphRuntime, Session
from tprune.support.files import atomic_directory
from tprune.support.machine import idle_cores
from tprune.support.manifest import Manifest

ROWS = (1, 25)  # of a step of a decoder, and of a pass over a sentence
ROUNDS = 15
TURN_MS = 4.0  # of one size in a round
Report = Callable[[str], None]


def sweep(
    runtime: GraphRuntime, precision: Precision, threads: int, work: Path, report: Report, rounds: int = ROUNDS
) -> dict[str, Chosen]:
    """The multiple of each probe, as this machine is now.

    In a round every size has its turn, in the order of the one before reversed; each is timed with one row and with
    many. What is compared are ratios within a round, so slow minutes of the machine cancel.

    Args:
        runtime: that runs the graphs.
        precision: that they compute in.
        threads: of one operation.
        work: a folder for the graphs.
        report: called with a line a probe.
        rounds: how often all sizes are timed.

    Raises:
        InputError: the runtime cannot run the graphs.
    """
    found = {}
    for name, probe in PROBES.items():
        session = _opened(runtime, probe, work / name.replace(" ", "-"), precision, threads)
        sizes = probe.sizes()
        with _pinned(threads):
            times = _rounds(session, probe, list(sizes), rounds)
        found[name] = chosen(ratios_of(sizes, times), runtime.multiple(precision))
        report(f"{name}: {len(sizes)} sizes in {rounds} rounds")
    return found


def _graph(size: int) -> str:
    return f"size{size}"


def _opened(runtime: GraphRuntime, probe: Probe, folder: Path, precision: Precision, threads: int) -> Session:
    torch.manual_seed(0)
    graphs = [probe.graph(_graph(size), size, runtime.dialect) for size in probe.sizes()]
    with atomic_directory(folder) as made:
        runtime.write(graphs, made, precision)
    layout = Layout(
        task="multiples",
        phases=("pass",),
        graphs=tuple(graph.signature for graph in graphs),
        parameters=0,
        macs=0,
        files=Manifest.of(folder),
        runtime=runtime.name,
        precision=precision,
    )
    return runtime.open(folder, layout, threads)


def _rounds(session: Session, probe: Probe, sizes: list[int], rounds: int) -> list[dict[int, float]]:
    random = np.random.default_rng(0)
    given = {
        (size, rows): {"x": random.standard_normal((rows, probe.inputs(size))).astype(np.float32)}
        for size in sizes
        for rows in ROWS
    }
    repeats = {
        key: int(np.clip(TURN_MS / max(_turn(session, key[0], feeds, 2), 1e-4), 3, 200)) for key, feeds in given.items()
    }
    usual = {rows: _turn(session, sizes[len(sizes) // 2], given[sizes[len(sizes) // 2], rows], 5) for rows in ROWS}
    found = []
    for number in range(rounds):
        order = sizes[:: -1 if number % 2 else 1]
        took = {
            size: {rows: _turn(session, size, given[size, rows], repeats[size, rows]) for rows in ROWS}
            for size in order
        }
        # both numbers of rows weigh the same, though one of them takes longer
        found.append({size: sum(took[size][rows] / usual[rows] for rows in ROWS) for size in sizes})
    return found


def _turn(session: Session, size: int, feeds: Mapping[str, Array], repeats: int) -> float:
    """Median milliseconds of so many runs, after one that is not counted."""
    name, times = _graph(size), []
    session.run(name, feeds, ("y",))
    for _ in range(repeats):
        start = time.perf_counter()
        session.run(name, feeds, ("y",))
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times))


@contextmanager
def _pinned(threads: int) -> Iterator[None]:
    """Inside the block, this process stays on the same cores, where the system can do that."""
    cores = idle_cores(threads)
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
