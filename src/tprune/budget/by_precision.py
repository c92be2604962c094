"""What a precision makes faster by itself, before anything is cut."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tprune.budget.dense_timing import DenseTiming
from tprune.costs.latency.timer import Timer


def precision_speedup(dense: DenseTiming) -> float:
    """The speedup of the dense model by the precision alone, `time in fp32 / time in it`, measured here.

    Args:
        dense: the model, and how it is timed, with the precision.

    Raises:
        NoisyMachineError: times differ too much between repetitions.
    """
    model, precision = dense.model, dense.setting.precision
    with tempfile.TemporaryDirectory() as folder:
        where = (dense.inputs, dense.in_fp32, Path(folder))
        timer = Timer(model, dense.tokenizer, *where, report=dense.report, task=dense.task)
        times = timer.compare(model, f"the dense model in {precision}", None, precision)
        return times[timer.phases.quoted]
