"""`tprune runtimes --tune-multiples`: sweeps sizes and keeps the multiples."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tprune.core.precision import Precision
from tprune.costs.multiples.store import Tuned, file_of, keep
from tprune.costs.multiples.sweep import ROUNDS, sweep
from tprune.runtimes.runtime import Elsewhere, GraphRuntime, runtime_named
from tprune.support.errors import InputError
from tprune.support.machine import check_threads, version_of
from tprune.support.records import encoded

BUILDS = ("single-pass", "encoder-decoder", "decoder-only")  # any of which the graphs may be part of


def tune(
    name: str,
    precision: Precision,
    threads: int = 1,
    report: Callable[[str], None] = lambda text: None,
    cache: Path | None = None,
    rounds: int = ROUNDS,
) -> dict[str, Any]:
    """Times sizes in a runtime and keeps which multiples it likes on this machine.

    Args:
        name: of the runtime.
        precision: that it computes in.
        threads: of one operation.
        report: called with lines of progress.
        cache: the folder for what is found; tprune's own if not given.
        rounds: how often all sizes are timed.

    Returns:
        what was kept, with `file`, and `own`: the multiple that the runtime has where none was measured.

    Raises:
        InputError: the runtime is not installed, does not run graphs, or not in this precision, or not here.
    """
    runtime = runtime_named(name)
    check_threads(threads)
    if version_of(runtime.package) is None:
        raise InputError(f"runtime {name} is not installed here; {runtime.install}")
    if isinstance(runtime, Elsewhere):
        raise InputError(f"runtime {name} runs on {runtime.runs_on}; its sizes cannot be timed here")
    if not isinstance(runtime, GraphRuntime):
        raise InputError(f"runtime {name} takes whole models; single sizes cannot be timed in it")
    reasons = [runtime.supports(precision, build) for build in BUILDS]
    if all(reason is not None for reason in reasons):
        raise InputError(f"runtime {name} in {precision}: {reasons[0]}")
    with tempfile.TemporaryDirectory() as work:
        probes = sweep(runtime, precision, threads, Path(work), report, rounds)
    found, file = (
        Tuned(name, version_of(runtime.package), precision.name, threads, probes),
        file_of(runtime, precision, threads, cache),
    )
    keep(found, file)
    return {**encoded(found), "multiples": found.multiples, "own": runtime.multiple(precision), "file": str(file)}
