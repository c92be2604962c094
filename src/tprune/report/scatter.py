"""A scatter plot with intervals as plain numbers, for a template to draw as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

WIDE, HIGH = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 16, 44
TICKS = 5


@dataclass(frozen=True)
class Dot:
    """A point with its intervals: `x` and `y` are (low, middle, high)."""

    name: str
    x: tuple[float, float, float]
    y: tuple[float, float, float]
    hollow: bool = False


def scatter(dots: Sequence[Dot]) -> dict[str, Any]:
    """Pixels of dots, whiskers and ticks in a frame of `WIDE` by `HIGH`.

    Example:
        >>> found = scatter([Dot("a", (1.0, 1.0, 1.0), (30.0, 30.0, 30.0)), Dot("b", (1.8, 2.0, 2.2), (28.0, 29.0, 30.0))])
        >>> [tick["label"] for tick in found["across"]]
        ['1', '1.5', '2', '2.5']
    """
    across, up = _ticks([v for dot in dots for v in dot.x]), _ticks([v for dot in dots for v in dot.y])
    x_of, y_of = _scale(across, LEFT, WIDE - RIGHT), _scale(up, HIGH - BOTTOM, TOP)
    placed = []
    for dot in dots:
        x, y = x_of(dot.x[1]), y_of(dot.y[1])
        text, anchor = (x + 9, "start") if x < 0.7 * WIDE else (x - 9, "end")
        placed.append({
            "name": dot.name, "hollow": dot.hollow, "x": x, "y": y, "x0": x_of(dot.x[0]), "x1": x_of(dot.x[2]),
            "y0": y_of(dot.y[0]), "y1": y_of(dot.y[2]), "text_x": text, "text_y": y - 7, "anchor": anchor,
        })  # fmt: skip
    return {
        "wide": WIDE, "high": HIGH, "left": LEFT, "right": WIDE - RIGHT, "top": TOP, "bottom": HIGH - BOTTOM, "dots": placed,
        "across": [{"at": x_of(v), "label": f"{v:g}"} for v in across], "up": [{"at": y_of(v), "label": f"{v:g}"} for v in up],
    }  # fmt: skip


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers around the values."""
    low, high = min(values), max(values)
    step = _round((high - low or max(abs(high), 1.0) * 0.1) / (TICKS - 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def _round(step: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= step * (1 - 1e-9))


def _scale(ticks: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    low, high = ticks[0], ticks[-1]

    def place(value: float) -> float:
        return round(start + (value - low) / (high - low) * (end - start), 1)

    return place
