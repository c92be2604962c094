"""What a precision makes faster by itself, before anything is cut."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from tprune.core.model import Model
from tprune.core.precision import FP32
from tprune.core.task import Task
from tprune.costs.latency.subject import Inputs
from tprune.costs.latency.table import TimingConfig
from tprune.costs.latency.timer import Timer
from tprune.support.reporting import Report


def precision_speedup(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None,
    inputs: Inputs,
    setting: TimingConfig,
    report: Report = lambda text: None,
    task: Task | None = None,
) -> float:
    """The speedup of the dense model by the precision alone, `time in fp32 / time in it`, measured here.

    Args:
        model: the dense model.
        tokenizer: its own; needed for translation alone.
        inputs: what is timed, as in `gather_evidence`.
        setting: with the precision.
        report: called with a line for times that vary.
        task: what the model is for; its own if not given.

    Raises:
        NoisyMachineError: times differ too much between repetitions.
    """
    with tempfile.TemporaryDirectory() as folder:
        timer = Timer(
            model, tokenizer, inputs, replace(setting, precision=FP32), Path(folder), report=report, task=task
        )
        return timer.compare(model, f"the dense model in {setting.precision}", None, setting.precision)[
            timer.phases.quoted
        ]
