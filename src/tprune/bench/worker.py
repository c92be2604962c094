"""One side of a benchmark: a process with one exported model, which measures what its standard input asks for.

Run as `python -m tprune.bench.worker FOLDER THREADS CORES`; `CORES` are those it is pinned to ("2,3"; none where it is empty). A request is one line of JSON on standard input, a reply one line
on standard output; an error is one line on standard error, and the end of the process.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tprune.runtimes.translator import Translator
from tprune.support.errors import USERS, InputError
from tprune.support.plugins import import_named

SPENT_MS = 25.0  # how long one turn of the encoder or the decoder step lasts, roughly
MOST = 500


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


def _milliseconds(run: Callable[[], Any], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _visit(run: Callable[[], Any], spent: float = SPENT_MS) -> float:
    """Median milliseconds of as many runs as last `spent` (at least 1), after one that is not counted: caches are another's."""
    first = _milliseconds(run, 1)[0]
    return float(np.median(_milliseconds(run, int(np.clip(spent / max(first, 1e-3), 1, MOST)))))


def measure(translator: Translator, request: dict[str, Any]) -> dict[str, float]:
    """Does one request: `encoder`, `decoder_step`, `sentence` or `memory`."""
    if request["do"] == "memory":
        return {"bytes": peak_memory()}
    if request["do"] == "sentence":
        ids = [
            row
            for text, place in zip(request["sentences"], request["from"], strict=True)
            for row in _encoded(translator, text, place)
        ]
        last: list[list[int]] = []

        def run() -> None:
            last[:] = translator.generate(ids, request["beams"], request["batch"])

        spent = _visit(run, 0.0)
        return {"ms": spent / len(ids), "tokens": sum(map(len, last)) / len(ids)}
    rows = _source(translator, request["batch"], request["source"])
    if request["do"] == "encoder":
        return {"ms": _visit(lambda: translator.start(rows))}
    steps = translator.start(rows)
    tokens = np.full(len(rows), translator.layout.decoding.decoder_start_token_id, np.int64)
    for _ in range(request["past"]):
        steps.logits(tokens)
    return {"ms": _visit(lambda: steps.peek(tokens))}


def _encoded(translator: Translator, text: str, place: str) -> list[list[int]]:
    try:
        return translator.encode([text])
    except InputError as error:
        raise InputError(str(error).replace("sentence 1", place, 1)) from None


def _source(translator: Translator, batch: int, length: int) -> list[list[int]]:
    if not 0 < length <= translator.layout.source_positions:
        raise InputError(f"source length {length}; expected 1 to {translator.layout.source_positions} tokens")
    ids = np.random.default_rng(0).integers(0, translator.layout.vocabulary, (batch, length))
    return [[int(token) for token in row] for row in ids]


def main(arguments: list[str]) -> int:
    """Loads the folder, says so, and answers requests until standard input ends."""
    folder, threads, cores = arguments
    if cores:
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries and plugins print is no reply
    before = peak_memory()
    try:
        import_named()
        translator = Translator.load(folder, int(threads))
        print(json.dumps({"memory_before_load": before}), file=replies, flush=True)
        for line in sys.stdin:
            print(json.dumps(measure(translator, json.loads(line))), file=replies, flush=True)
    except Exception as error:  # the parent shows the last line of standard error
        text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        print(" ".join(text.split()), file=sys.stderr, flush=True)
        return USERS if isinstance(error, InputError) else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
