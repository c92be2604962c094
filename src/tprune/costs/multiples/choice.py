"""The multiple that follows from times of sizes: as small as it may be without being slower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tprune.bench.statistics import median_interval

SLOWER = 0.03  # what is no slower than this, as a part of the time, is left alone
Ratios = Mapping[int, Sequence[float]]


@dataclass(frozen=True)
class Excess:
    """How much longer multiples of a number take than multiples of the largest one.

    Attributes:
        median: over the rounds, of the time over that of a line through the multiples of the largest.
        low: the lower end of its 95 % interval.
        high: the upper end.
    """

    median: float
    low: float
    high: float

    @staticmethod
    def of(ratios: Sequence[float]) -> Excess:
        """From the ratios of the rounds."""
        return Excess(float(np.median(ratios)), *median_interval(ratios))

    @property
    def slower(self) -> bool:
        """Whether they are slower, beyond the noise and by an amount that counts."""
        return self.low > 1 and self.median > 1 + SLOWER


@dataclass(frozen=True)
class Chosen:
    """The multiple of a probe, and why.

    Attributes:
        multiple: of the sizes.
        tuned: whether it was measured; else it is the runtime's own, since no difference was beyond the noise.
        excess: by multiple.
    """

    multiple: int
    tuned: bool
    excess: Mapping[str, Excess]


def ratios_of(sizes: Mapping[int, int], rounds: Sequence[Mapping[int, float]]) -> dict[int, list[float]]:
    """How long multiples of a number take on average, in each round, against those of the largest number.

    Of all multiples of 8 a half is no multiple of 16, a quarter one of 16 and not of 32, and so on: the times of the
    sizes that were tried are weighed so.

    Args:
        sizes: the largest multiple that divides a size, by size.
        rounds: milliseconds by size.
    """
    known = sorted(set(sizes.values()))
    good = sorted(size for size, multiple in sizes.items() if multiple == known[-1])
    found: dict[int, list[float]] = {multiple: [] for multiple in known}
    for times in rounds:
        line = np.polyfit(good, [times[size] for size in good], min(1, len(good) - 1))
        average = 1.0
        for place in reversed(range(len(known))):
            own = [times[size] / float(np.polyval(line, size)) for size, of in sizes.items() if of == known[place]]
            rest = known[place] / known[place + 1] if place + 1 < len(known) else 0.0
            average = (1 - rest) * float(np.mean(own)) + rest * average
            found[known[place]].append(average)
    return found


def chosen(ratios: Ratios, own: int) -> Chosen:
    """The smallest multiple than which no larger one is faster.

    Args:
        ratios: of the rounds, by multiple.
        own: the runtime's own multiple, which stays where nothing is faster.

    Example:
        >>> chosen({1: [1.2] * 8, 8: [1.01] * 8, 64: [1.0] * 8}, own=1).multiple
        8
        >>> chosen({1: [1.2, 0.9] * 4, 8: [1.0] * 8}, own=1).tuned
        False
    """
    excess = {str(multiple): Excess.of(each) for multiple, each in ratios.items()}
    start = own if own in ratios else min(ratios)
    if not _slower(ratios, start):
        return Chosen(own, False, excess)
    return Chosen(min(multiple for multiple in ratios if not _slower(ratios, multiple)), True, excess)


def _slower(ratios: Ratios, multiple: int) -> bool:
    """Whether multiples of a number are slower than those of a larger one."""
    pairs = (zip(ratios[multiple], ratios[larger], strict=True) for larger in ratios if larger > multiple)
    return any(Excess.of([mine / other for mine, other in pair]).slower for pair in pairs)
