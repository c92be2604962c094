"""What one exported model is: how good, how large, how fast; and the standing rows of all precisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tprune.core.score import Difference, Score

ByMeasure = Mapping[str, float]


@dataclass(frozen=True)
class Ratio:
    """Dense over pruned: the median of the rounds, and its 95 % interval."""

    median: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        """From the lower to the upper end."""
        return self.low, self.high


@dataclass(frozen=True, kw_only=True)
class SideResults:
    """What the dense or the pruned model is: how good, how large, how fast.

    Attributes:
        scores: on the test data, by metric; the first is the one that models are compared by.
        at_limit: the share of its outputs that end at `limit` tokens; None where nothing is written, or it was not
            counted.
        macs: multiplications of the task's example, such as 25 source and 25 target tokens.
        bytes: of its exported files.
        latency_ms: by runtime and phase.
        peak_memory: of the process that ran it, in bytes.
        tokens_per_sentence: that it wrote while it was timed; 0 where it writes none.
    """

    scores: Mapping[str, Score]
    at_limit: float | None = None
    limit: int | None = None
    parameters: int
    macs: int
    bytes: int
    latency_ms: Mapping[str, ByMeasure]
    peak_memory: int
    tokens_per_sentence: float


@dataclass(frozen=True, kw_only=True)
class PrecisionRow:
    """A model as it is exported in one precision, timed in the same rounds as all other rows.

    Attributes:
        model: `dense` or `pruned`.
        precision: the name of its precision.
        result: how good, how large, how fast.
        speedup: by phase, the dense model's time in fp32 over its own.
        same: by phase, the dense model's time in the same precision over its own; empty where there is none.
        change: its score minus that of the dense model in fp32, on the same examples.
        rounding: its score minus that of the same model in fp32.
        agreement: how far its logits are from PyTorch's; see `tprune.runtimes.parity.Measured`.
        in_fp32: how many of its matrices stay in single precision, of `matrices`.
        matrices: how many it has; 0 in single precision, where they are not listed.
    """

    model: str
    precision: str
    result: SideResults
    speedup: Mapping[str, Ratio] = field(default_factory=dict)
    same: Mapping[str, Ratio] = field(default_factory=dict)
    change: Difference | None = None
    rounding: Difference | None = None
    agreement: Mapping[str, float] = field(default_factory=dict)
    in_fp32: int = 0
    matrices: int = 0
