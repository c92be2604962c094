"""What predictions are worth: metrics, scores with intervals, and differences between two models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Metric:
    """What is measured of predictions.

    Attributes:
        name: as in results and tables.
        larger_is_better: whether a larger value is a better one.
        unit: behind a value, such as `%`.
        digits: after the decimal point of a value that is shown.
        poor: a model whose value is no better than this hardly does the task; None where no value says so.

    Example:
        >>> Metric("accuracy", unit="%").shown(75.0), Metric("perplexity", larger_is_better=False).better(3.0, 4.0)
        ('75.00 %', True)
    """

    name: str
    larger_is_better: bool = True
    unit: str = ""
    digits: int = 2
    poor: float | None = None

    def better(self, value: float, other: float) -> bool:
        """Whether a value is better than another one."""
        return value > other if self.larger_is_better else value < other

    def shown(self, value: float) -> str:
        """A value with its unit."""
        return f"{value:.{self.digits}f}{self.unit and ' ' + self.unit}"


@dataclass(frozen=True)
class Measure:
    """A metric of the predictions for some examples, as sums over the examples, so that it can be resampled.

    Attributes:
        metric: what is measured.
        rows: (examples, terms): what each example adds to the terms.
        value: the metric of summed terms.
        signature: how it is computed, such as sacreBLEU's.
        interval: of summed terms the 95 % interval; by bootstrap over the examples where it is None.
        doubts: why the value may say little, in sentences.
    """

    metric: Metric
    rows: NDArray[Any]
    value: Callable[[NDArray[Any]], float]
    signature: str
    interval: Callable[[NDArray[Any]], tuple[float, float]] | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Score:
    """A metric of predictions against what was expected.

    Attributes:
        metric: what was measured, and which values are better.
        value: on all examples.
        low: the 95 % interval over the data begins here,
        high: and ends here.
        count: the number of examples that were scored.
        signature: how it was computed, such as sacreBLEU's.
        doubts: why the value may say little, in sentences.
    """

    metric: Metric
    value: float
    low: float
    high: float
    count: int
    signature: str
    doubts: tuple[str, ...] = ()

    def __str__(self) -> str:
        low, high = (f"{end:.{self.metric.digits}f}" for end in (self.low, self.high))
        return (
            f"{self.metric.name} {self.metric.shown(self.value)} [{low}, {high}] over {self.count:,} ({self.signature})"
        )


@dataclass(frozen=True)
class Difference:
    """How much a metric of a second model differs from that of a first one on the same examples, by paired bootstrap.

    Attributes:
        metric: what was measured.
        delta: the second value minus the first, on all examples.
        low: the 95 % interval of the delta begins here,
        high: and ends here.
        p_value: how often a centred resample differs by at least as much (two-sided).
        samples: the number of resamples, drawn with `seed`.
        seed: of the draws.
    """

    metric: Metric
    delta: float
    low: float
    high: float
    p_value: float
    samples: int
    seed: int

    def __str__(self) -> str:
        low, high = (f"{end:+.{self.metric.digits}f}" for end in (self.low, self.high))
        return f"{self.metric.name} {self.delta:+.{self.metric.digits}f} [{low}, {high}], p {self.p_value:.3f}"
