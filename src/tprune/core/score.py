"""What predictions are worth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """A metric of predictions against what was expected.

    Attributes:
        metric: its name, as results and tables have it.
        value: the larger the better.
        low: the 95 % interval over the data begins here,
        high: and ends here.
        count: how many inputs were scored.
        signature: how it was computed, such as sacreBLEU's.
    """

    metric: str
    value: float
    low: float
    high: float
    count: int
    signature: str

    def __str__(self) -> str:
        return (
            f"{self.metric} {self.value:.2f} [{self.low:.2f}, {self.high:.2f}] over {self.count:,} ({self.signature})"
        )
