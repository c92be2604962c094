"""How fast exported models are, side by side: one process each, in turns, with a check on the machine's noise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from tprune.bench.statistics import half_width, median_interval, noise, quartiles, reported, self_ratio
from tprune.data.parallel import read_lines
from tprune.runtimes.artefact import read_layout
from tprune.support.activity import current, doing
from tprune.support.errors import USERS, InputError
from tprune.support.machine import check_threads, idle_cores, machine, versions
from tprune.support.texts import check_list

MEASURES = ("encoder", "decoder_step", "sentence")
PROTOCOL = (
    "new processes in every round, pinned to the same cores where the system can; sides take turns by the sentence"
)
TURNS = 4  # of the encoder and of the decoder's step in a round; those of sentences are the sentences
Side = Mapping[str, Sequence[float]]  # measure → one number a round
Name = TypeVar("Name", str, "str | None")  # of a worker


@dataclass(frozen=True)
class Workload:
    """What is timed: the encoder on `source` tokens, one decoder step after `past` tokens, and whole sentences.

    At most `sentences` of those given are used (a batch where that is more), evenly spaced; `beams=None` decodes as
    exported, 1 is greedy. `measures` may leave some out.
    """

    source: int = 25
    past: int = 12
    beams: int | None = 1
    sentences: int = 20
    measures: tuple[str, ...] = MEASURES


@dataclass(frozen=True)
class Footprint:
    """What one side weighs: generated tokens a sentence, bytes on disk and in memory, parameters and multiplications.

    `peak_memory` is that of its process, `memory_before_load` what the process took before it opened the model, `macs`
    are for 25 source and 25 target tokens.
    """

    tokens_per_sentence: float
    bytes: int
    peak_memory: int
    memory_before_load: int
    parameters: int
    macs: int


@dataclass(frozen=True)
class BenchResult:
    """Medians over rounds, in milliseconds, of the dense and the pruned model; keys as `MEASURES`.

    `ratios` are dense / pruned of each round, `speedup` their median, `interval` a 95 % interval of that median, `spread` the
    quartiles of each side's milliseconds. `noisy` says that the interval of the `reported` ratio reaches farther than ±3 %; what
    else was timed has no say in it. `self_ratio` is a side's even rounds over its odd rounds: how the machine drifted, most of which
    ratios of the same round do not see. Models that write unequally many tokens a sentence do unequal work: see `footprint`.
    """

    latency_ms: Mapping[str, Mapping[str, float]]
    spread: Mapping[str, Mapping[str, tuple[float, float]]]
    ratios: Mapping[str, Sequence[float]]
    speedup: Mapping[str, float]
    interval: Mapping[str, tuple[float, float]]
    self_ratio: Mapping[str, Mapping[str, float]]
    noisy: bool
    noise: str
    footprint: Mapping[str, Footprint]
    threads: int
    batch: int
    rounds: int
    work: Workload
    machine: Mapping[str, Any]
    runtime: str = "onnxruntime"
    rounds_ms: Mapping[str, Side] = field(default_factory=dict)  # of each side, every round

    @property
    def reported(self) -> str:
        """The measure that a speed is quoted of, and that `noisy` judges: whole sentences where they were timed."""
        return reported(self.interval)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the runtime's name between side and measure."""
        name = self.runtime
        return {
            "latency_ms": {side: {name: dict(values)} for side, values in self.latency_ms.items()},
            "spread": {side: {name: {k: list(v) for k, v in x.items()}} for side, x in self.spread.items()},
            "speedup": {name: dict(self.speedup)},
            "ratios": {name: {key: list(value) for key, value in self.ratios.items()}},
            "speedup_interval": {name: {key: list(value) for key, value in self.interval.items()}},
            "noise": {
                "noisy": self.noisy, "says": self.noise, "measure": self.reported, "half_width": half_width(self.interval[self.reported]),
                "self_ratio": {side: {name: dict(values)} for side, values in self.self_ratio.items()},
            },
            **{each.name: {side: getattr(weight, each.name) for side, weight in self.footprint.items()} for each in fields(Footprint)},
            "threads": self.threads, "batch": self.batch, "rounds": self.rounds, "protocol": PROTOCOL,
            "work": asdict(self.work), "machine": dict(self.machine),
        }  # fmt: skip


def bench(
    dense: Path, pruned: Path, sentences: Path | Sequence[str], threads: int = 1, batch: int = 1,
    rounds: int = 12, work: Workload | None = None,
) -> BenchResult:  # fmt: skip
    """Measures two exported folders on this machine.

    Each side is a worker process. In a round they take turns of milliseconds (a sentence or batch each: A B, B A, ...), never both
    at once. Both are pinned to the same cores, where the system can do that: cores differ, and so does what else uses a memory
    they share. Every round has processes of its own: where their memory happens to lie makes equal ones differ by up to 5 %.

    Args:
        dense: the folder of the dense model, `pruned` that of the pruned one.
        pruned: see `dense`.
        sentences: source sentences, or a file with one a line.
        threads: cores one operation may use.
        batch: sentences in one pass.
        rounds: how often all is measured; at least 4, and even.
        work: lengths and beams; see `Workload`.

    Raises:
        InputError: a folder or file cannot be used, a number is out of range, or a worker died (with its last line).

    Example:
        ```python
        bench(Path("dense"), Path("small"), ["Two dogs play."]).speedup["decoder_step"]  # 1.9
        ```
    """
    return bench_all(dense, {"pruned": pruned}, sentences, threads, batch, rounds, work)["pruned"]


def bench_all(
    dense: Path, others: Mapping[str, Path], sentences: Path | Sequence[str], threads: int = 1, batch: int = 1,
    rounds: int = 12, work: Workload | None = None,
) -> dict[str, BenchResult]:  # fmt: skip
    """Measures several exported folders against the dense model's, all in the same rounds, so that their ratios compare.

    Args and errors as of `bench`; `others` are the folders by name, each a worker process. Each result is the dense model
    against one of them.
    """
    work = work or Workload()
    requests, cores = _requests(sentences, threads, batch, rounds, work), idle_cores(threads)
    if "sentence" in requests:
        work = replace(work, sentences=sum(len(request["sentences"]) for request in requests["sentence"]))
    sides: dict[str | None, Path] = {None: Path(dense)} | {name: Path(folder) for name, folder in others.items()}
    footprint: dict[str | None, Footprint] = {}
    times: dict[str | None, dict[str, list[float]]] = {side: {name: [] for name in requests} for side in sides}
    for number in range(rounds):
        with ExitStack() as stack:
            where = f"timing {len(sides)} models side by side: round {number + 1} of {rounds}"
            stack.enter_context(doing(where))
            workers: dict[str | None, Worker] = {}
            for side in _in_turns(sides, number):  # loaded in turns too: the last finds better memory than the first
                with doing(f"{where}, {len(workers)} loaded"):
                    workers[side] = stack.enter_context(_worker(sides[side], threads, cores))
            for side, took in _round(workers, requests).items():
                for name in requests:
                    times[side][name].append(took[name])
                if number + 1 == rounds:
                    footprint[side] = _footprint(workers[side], took.get("tokens", 0.0))
    found = {}
    for name in others:
        both: dict[str, str | None] = {"dense": None, "pruned": name}
        found[name] = _result(
            {side: times[key] for side, key in both.items()}, {side: footprint[key] for side, key in both.items()},
            threads, batch, work, _runtime(Path(dense), Path(others[name])), cores,
        )  # fmt: skip
    return found


def _runtime(dense: Path, pruned: Path) -> str:
    """The runtime of both folders, or both names where they differ."""
    return " / ".join(dict.fromkeys(read_layout(folder).runtime for folder in (dense, pruned)))


def _requests(
    sentences: Path | Sequence[str], threads: int, batch: int, rounds: int, work: Workload
) -> dict[str, list[dict[str, Any]]]:
    """What every worker is asked in a round, by measure: its turns. Raises `InputError` for what cannot be measured."""
    check_threads(threads)
    if batch < 1 or rounds < 4 or rounds % 2:
        raise InputError(f"batch {batch}, rounds {rounds}; expected at least 1, and an even 4 or more")
    if min(work.source, work.sentences, 1 if work.beams is None else work.beams) < 1 or work.past < 0:
        raise InputError(f"{work}; expected at least 1 source token, sentence and beam")
    if not work.measures or set(work.measures) - set(MEASURES):
        raise InputError(f"measures {work.measures}; expected some of {', '.join(MEASURES)}")
    file = f"{sentences} line" if isinstance(sentences, str | Path) else "sentence"
    if not isinstance(sentences, str | Path):
        check_list(sentences, "sentences")
    every = read_lines(Path(sentences)) if isinstance(sentences, str | Path) else tuple(sentences)
    check_batch(batch, len(every))
    texts = _sample(
        [(text, f"{file} {number}") for number, text in enumerate(every, start=1)], max(work.sentences, batch)
    )
    shape = {"source": work.source, "past": work.past, "batch": batch}
    requests = {name: [{"do": name, **shape}] * TURNS for name in work.measures}
    if "sentence" in requests:
        if batch > 1:  # batches of like lengths, as in translating
            texts = sorted(texts, key=lambda text: len(text[0]))
        groups = [texts[i : i + batch] for i in range(0, len(texts), batch)]
        requests["sentence"] = [
            {
                "do": "sentence",
                **shape,
                "sentences": [text for text, _ in group],
                "from": [place for _, place in group],
                "beams": work.beams,
            }
            for group in groups
        ]
    return requests


def check_batch(batch: int, sentences: int) -> None:
    """Raises `InputError` where there are fewer sentences than go into one batch."""
    if 0 < sentences < batch:
        raise InputError(
            f"batch {batch}, but there are only {sentences} sentences to translate; expected at least as many, or a smaller --batch"
        )


def _footprint(worker: Worker, tokens: float) -> Footprint:
    layout, memory = read_layout(worker.folder), int(worker.ask({"do": "memory"})["bytes"])
    on_disk = sum(file.stat().st_size for file in worker.folder.iterdir() if file.is_file())
    return Footprint(tokens, on_disk, memory, worker.memory_before_load, layout.parameters, layout.macs)


def _sample(texts: Sequence[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    if not texts:
        raise InputError("no sentences to translate; expected at least one")
    return [texts[i * len(texts) // min(most, len(texts))] for i in range(min(most, len(texts)))]


class Worker:
    """A process that measures one folder; see `tprune.bench.worker`."""

    def __init__(self, folder: Path, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self.folder, self._process, self._errors = folder, process, errors
        self.memory_before_load = int(self._reply()["memory_before_load"])

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
def _worker(folder: Path, threads: int, cores: Sequence[int]) -> Iterator[Worker]:
    pools = (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "RAYON_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    )
    here = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    environment = os.environ | dict.fromkeys(pools, str(threads)) | {"PYTHONPATH": path}
    command = [sys.executable, "-P", "-m", "tprune.bench.worker", str(folder), str(threads), ",".join(map(str, cores))]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        try:
            yield Worker(folder, process, errors)
        finally:
            process.kill()
            process.communicate()


def _in_turns(sides: Iterable[Name], number: int) -> list[Name]:
    return list(sides)[:: -1 if number % 2 else 1]


def _round(
    workers: Mapping[Name, Worker], requests: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[Name, dict[str, float]]:
    """Milliseconds by side and measure, and tokens a sentence: means over the turns."""
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
            if name == "sentence":
                found[side]["tokens"] = float(np.average([each["tokens"] for each in said], weights=weights))
    return found


def _result(
    times: Mapping[str, Side], footprint: Mapping[str, Footprint], threads: int, batch: int, work: Workload, runtime: str,
    cores: Sequence[int] = (),
) -> BenchResult:  # fmt: skip
    ratios = {
        name: [dense / pruned for dense, pruned in zip(times["dense"][name], times["pruned"][name], strict=True)]
        for name in work.measures
    }
    interval = {name: median_interval(each) for name, each in ratios.items()}
    halves = {side: {name: self_ratio(values) for name, values in names.items()} for side, names in times.items()}
    noisy, says = noise(interval)
    return BenchResult(
        latency_ms={side: {k: float(np.median(v)) for k, v in names.items()} for side, names in times.items()},
        spread={side: {k: quartiles(v) for k, v in names.items()} for side, names in times.items()},
        ratios=ratios, speedup={name: float(np.median(ratio)) for name, ratio in ratios.items()},
        interval=interval, self_ratio=halves, noisy=noisy, noise=says, footprint=footprint,
        threads=threads, batch=batch, rounds=len(next(iter(ratios.values()))), work=work, machine={**machine(), **versions(), "pinned_to": list(cores)}, runtime=runtime,
        rounds_ms={side: {name: tuple(values) for name, values in names.items()} for side, names in times.items()},
    )  # fmt: skip
