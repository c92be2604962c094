"""What training costs. The unit is one forward pass of the dense model over one batch (2048 tokens in the recipes
here).

A training step of a model is three passes of it (forward, and backward at twice that), and one of the dense model where
that is the teacher. A pass costs in proportion to the multiply-accumulates of `tprune.counting.size`. So 800 steps of
the dense model with itself as teacher are 3200 units.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tprune.bench.worker import peak_memory
from tprune.counting.size import size


def step_units(macs: float, teacher: bool) -> float:
    """Units of one training step of a model with this share of the dense model's MACs.

    Example:
        >>> step_units(1.0, teacher=True), step_units(0.5, teacher=False)
        (4.0, 1.5)
    """
    return 3 * macs + teacher


def affordable(units: float, macs: float, teacher: bool) -> int:
    """How many steps that many units pay for."""
    return max(0, int(units / step_units(macs, teacher) + 1e-9))


def share_of_macs(model: Any, dense: Any) -> float:
    """A model's MACs over those of the dense model."""
    return size(model).macs / size(dense).macs


@dataclass
class Meter:
    """Seconds and memory of a block of work; `peak` is that of the whole process within the block, in bytes."""

    seconds: float = 0.0
    before: int = 0
    peak: int = 0
    exact: bool = field(default=True)  # whether the peak is of this block only


@contextmanager
def metered() -> Iterator[Meter]:
    """Measures a block of work."""
    meter = Meter(exact=False)
    with suppress(OSError):  # resets the peak on Linux; elsewhere the peak is that of the process so far
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        meter.exact = True
    meter.before, start = resident(), time.perf_counter()
    try:
        yield meter
    finally:
        meter.seconds, meter.peak = time.perf_counter() - start, peak_memory()


def resident() -> int:
    """Bytes of this process in memory now; where the system does not say, the most there ever were."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
