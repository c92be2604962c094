"""The dense model, and all that its times hang on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from tprune.core.model import Model
from tprune.core.precision import FP32
from tprune.core.task import Task
from tprune.costs.latency.subject import Inputs
from tprune.costs.latency.table import TimingConfig
from tprune.support.reporting import Report, silent


@dataclass(frozen=True)
class DenseTiming:
    """What is timed, and how.

    Attributes:
        model: the dense model.
        tokenizer: its own; needed for translation alone.
        inputs: what is timed, as in `tprune.budget.evidence.gather_evidence`.
        setting: how, with the precision that is asked for.
        task: what the model is for; its own if not given.
        report: called with lines of progress, and for times that vary.
    """

    model: Model
    tokenizer: PreTrainedTokenizerBase | None
    inputs: Inputs
    setting: TimingConfig
    task: Task | None = None
    report: Report = silent

    @property
    def in_fp32(self) -> TimingConfig:
        """The setting in single precision."""
        return replace(self.setting, precision=FP32)
