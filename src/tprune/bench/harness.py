"""How fast exported models are, side by side: one process each, in turns, with a check on the machine's noise."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tprune.bench.known_phases import Feed, measured_for, with_composed
from tprune.bench.process import Worker
from tprune.bench.process import worker as _worker
from tprune.bench.requests import Inputs, Requests, check_batch, fed, requests_of, texts_of
from tprune.bench.result import BenchResult, Footprint
from tprune.bench.result import result_of as _result
from tprune.bench.work import Workload, usual_work
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.layout import Layout
from tprune.support.activity import current, doing
from tprune.support.errors import InputError
from tprune.support.machine import check_threads, idle_cores

__all__ = ["BenchResult", "Footprint", "Worker", "Workload", "bench", "bench_all", "check_batch"]
Name = TypeVar("Name", str, "str | None")  # of a worker


def bench(
    dense: Path,
    pruned: Path,
    sentences: Path | Sequence[str] | None = None,
    threads: int = 1,
    batch: int = 1,
    rounds: int = 12,
    work: Workload | None = None,
    inputs: Inputs = (),
) -> BenchResult:
    """Measures two exported folders on this machine.

    Each side is a worker process. In a round they take turns of milliseconds (a sentence or batch each: A B, B A, ...),
    never both at once. Both are pinned to the same cores, where the system can do that: cores differ, and so does what
    else uses a memory they share. Every round has processes of its own: where their memory happens to lie makes equal
    ones differ by up to 5 %.

    Args:
        dense: the folder of the dense model, `pruned` that of the pruned one.
        pruned: see `dense`.
        sentences: source sentences, or a file with one a line; models that write no sentences are timed without.
        threads: cores one operation may use.
        batch: inputs in one pass.
        rounds: how often all is measured; at least 4, and even.
        work: lengths and beams; see `Workload`. If not given, it is `tprune.bench.work.usual_work`.
        inputs: batches of named arrays on which whole passes are timed; made up of the sizes in `work` if none are
            given.

    Raises:
        InputError: a folder or file cannot be used, a number is out of range, or a worker died (with its last line).

    Example:
        ```python
        bench(Path("dense"), Path("small"), ["Two dogs play."]).speedup["decoder_step"]  # 1.9
        ```
    """
    return bench_all(dense, {"pruned": pruned}, sentences, threads, batch, rounds, work, inputs)["pruned"]


def bench_all(
    dense: Path,
    others: Mapping[str, Path],
    sentences: Path | Sequence[str] | None = None,
    threads: int = 1,
    batch: int = 1,
    rounds: int = 12,
    work: Workload | None = None,
    inputs: Inputs = (),
) -> dict[str, BenchResult]:
    """Measures exported folders against the dense model's in the same rounds, so that their ratios compare.

    Args and errors as of `bench`; `others` are the folders by name, each a worker process. Each result is the dense
    model against one of them.
    """
    check_threads(threads)
    check_numbers(batch, rounds, work or Workload())
    texts = texts_of(sentences, batch, (work or Workload()).sentences)
    sides: dict[str | None, Path] = {None: Path(dense)} | {name: Path(folder) for name, folder in others.items()}
    if work is None or not work.measures:
        one = kind_of(sides.values(), bool(texts))
        work = replace(work or usual_work(one.phases, one.limits), measures=one.phases)
    work = replace(work, measures=measured_for(work.measures))
    with tempfile.TemporaryDirectory() as folder:
        requests = requests_of(work.measures, texts, batch, work, inputs, Path(folder))
        return _timed(sides, requests, threads, batch, rounds, work)


def _timed(
    sides: Mapping[str | None, Path], requests: Requests, threads: int, batch: int, rounds: int, work: Workload
) -> dict[str, BenchResult]:
    """All rounds of all sides; the one called None is the dense model's."""
    for name in fed(requests, Feed.SENTENCES):
        work = replace(work, sentences=sum(len(request["sentences"]) for request in requests[name]))
    cores = idle_cores(threads)
    footprint: dict[str | None, Footprint] = {}
    times: dict[str | None, dict[str, list[float]]] = {side: {name: [] for name in requests} for side in sides}
    for number in range(rounds):
        with ExitStack() as stack:
            where = f"timing {len(sides)} models side by side: round {number + 1} of {rounds}"
            stack.enter_context(doing(where))
            order = _in_turns(sides, number)
            workers = {side: stack.enter_context(_worker(sides[side], threads, cores)) for side in order}
            for loaded, side in enumerate(order):  # in turns too: the last finds better memory than the first
                with doing(f"{where}, {loaded} loaded"):
                    workers[side].open()
            for side, took in _round(workers, requests).items():
                for name in requests:
                    times[side][name].append(took[name])
                if number + 1 == rounds:
                    footprint[side] = _footprint(workers[side], took.get("tokens", 0.0))
    found = {}
    for name in filter(None, sides):
        both: dict[str, str | None] = {"dense": None, "pruned": name}
        found[name] = _result(
            {side: with_composed(times[key], work.new_tokens) for side, key in both.items()},
            {side: footprint[key] for side, key in both.items()},
            threads,
            batch,
            work,
            _runtime(sides[None], sides[name]),
            cores,
        )
    return found


def check_numbers(batch: int, rounds: int, work: Workload) -> None:
    """Raises `InputError` for numbers that nothing can be measured with."""
    if batch < 1 or rounds < 4 or rounds % 2:
        raise InputError(f"batch {batch}, rounds {rounds}; expected at least 1, and an even 4 or more")
    work.check()


def kind_of(folders: Iterable[Path], sentences: bool) -> Layout:
    """The layout of the first of exported models, with the phases that all of them are timed by.

    Raises `InputError` where there is no such phase, or sentences are given for nothing.
    """
    found = {folder: read_layout(folder) for folder in folders}
    (first, one), *others = found.items()
    common = one.phases
    for folder, other in others:
        common = tuple(phase for phase in common if phase in other.phases)
        if other.task != one.task or not common:
            raise InputError(
                f"{first} is timed by {', '.join(one.phases)}, {folder} by {', '.join(other.phases)}; expected "
                "models of one kind"
            )
    if sentences and not fed(one.phases, Feed.SENTENCES):
        raise InputError(f"{first}: a model for {one.task}, which is timed without sentences")
    return replace(one, phases=common)


def _runtime(dense: Path, pruned: Path) -> str:
    """The runtime of both folders, or both names where they differ."""
    return " / ".join(dict.fromkeys(read_layout(folder).runtime for folder in (dense, pruned)))


def _footprint(worker: Worker, tokens: float) -> Footprint:
    layout, memory = read_layout(worker.folder), int(worker.ask({"do": "memory"})["bytes"])
    on_disk = sum(file.stat().st_size for file in worker.folder.iterdir() if file.is_file())
    return Footprint(tokens, on_disk, memory, worker.memory_before_load, layout.parameters, layout.macs)


def _in_turns(sides: Iterable[Name], number: int) -> list[Name]:
    return list(sides)[:: -1 if number % 2 else 1]


def _round(
    workers: Mapping[Name, Worker], requests: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[Name, dict[str, float]]:
    """Milliseconds by side and phase, and tokens a sentence: means over the turns."""
    found: dict[Name, dict[str, float]] = {side: {} for side in workers}
    for name, turns in requests.items():
        replies: dict[Name, list[dict[str, Any]]] = {side: [] for side in workers}
        for turn, request in enumerate(turns):
            with doing(f"{current()}, {name} {turn + 1} of {len(turns)}"):
                for side in _in_turns(workers, turn):
                    replies[side].append(workers[side].ask(request))
        weights = [len(request.get("sentences", "1")) for request in turns]
        for side, said in replies.items():
            found[side][name] = float(np.average([each["ms"] for each in said], weights=weights))
            if all("tokens" in each for each in said):
                found[side]["tokens"] = float(np.average([each["tokens"] for each in said], weights=weights))
    return found
