"""A scatter plot with intervals as plain numbers, for a template to draw as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tprune.report.labels import SIZE, Box, Label, place, text_box, width_of

WIDE, HIGH = 400, 280  # so narrow that text at `SIZE` can be read where the drawing is as wide as a phone
RIGHT, TOP, BOTTOM = 16, 26, 52
TICKS = 5
ROOM = 0.06  # beyond the values at either end of an axis, as a share of their range
LEAST = 0.02  # the range of an axis at least, as a share of its largest value: what differs less is the same
RADIUS = 5


@dataclass(frozen=True)
class Dot:
    """A point with its intervals: `x` and `y` are (low, middle, high).

    `labels` is what the drawing shows of it, its name if empty.

    Dots that touch, and start with the same `prefix`, share a label.
    """

    name: str
    x: tuple[float, float, float]
    y: tuple[float, float, float]
    hollow: bool = False
    labels: tuple[str, ...] = ()
    prefix: str = ""


def scatter(dots: Sequence[Dot], metric: str) -> dict[str, Any]:
    """Pixels of dots, whiskers, ticks and labels in a frame of `WIDE` by `HIGH`; dots in one place share a label.

    Example:
        >>> dots = [Dot("a", (1.0, 1.0, 1.0), (30.0, 30.0, 30.0)), Dot("b", (1.8, 2.0, 2.2), (28.0, 29.0, 30.0))]
        >>> found = scatter(dots, "BLEU")
        >>> [tick["label"] for tick in found["across"]]
        ['1x', '1.5x', '2x']
    """
    x_range, y_range = fitted([v for dot in dots for v in dot.x]), fitted([v for dot in dots for v in dot.y])
    up = ticks(*y_range)
    left = 14 + max(width_of(f"{v:g}") for v in up)
    x_of, y_of = scale(x_range, left, WIDE - RIGHT), scale(y_range, HIGH - BOTTOM, TOP)
    placed = [
        {
            "name": dot.name,
            "hollow": dot.hollow,
            "x": x_of(dot.x[1]),
            "y": y_of(dot.y[1]),
            "labels": dot.labels or (dot.name,),
            "prefix": dot.prefix,
            "x0": x_of(dot.x[0]),
            "x1": x_of(dot.x[2]),
            "y0": y_of(dot.y[0]),
            "y1": y_of(dot.y[2]),
        }
        for dot in dots
    ]
    frame = Box(left + 2, TOP, WIDE - RIGHT, HIGH - BOTTOM - 2)
    return {
        "metric": metric,
        "wide": WIDE,
        "high": HIGH,
        "left": left,
        "right": WIDE - RIGHT,
        "top": TOP,
        "bottom": HIGH - BOTTOM,
        "size": SIZE,
        "dots": placed,
        "across": spread([(x_of(v), f"{v:g}x") for v in ticks(*x_range)], HIGH - BOTTOM + 20),
        "up": [{"at": y_of(v), "label": f"{v:g}"} for v in up],
        "labels": labelled(placed, frame),
    }


def labelled(placed: Sequence[dict[str, Any]], frame: Box) -> list[dict[str, Any]]:
    """Labels of dots, beside them, where they overlap neither each other nor a dot."""
    lines = [
        box
        for d in placed
        for box in (Box(d["x0"], d["y"] - 1, d["x1"], d["y"] + 1), Box(d["x"] - 1, d["y1"], d["x"] + 1, d["y0"]))
    ]
    taken = [Box(d["x"] - RADIUS, d["y"] - RADIUS, d["x"] + RADIUS, d["y"] + RADIUS) for d in placed]
    found = []
    for dots in together(placed):
        text = dots[0]["prefix"] + joined([label for dot in dots for label in dot["labels"]])
        x, y = (sum(dot[axis] for dot in dots) / len(dots) for axis in "xy")
        if label := place(text, x, y, frame, taken, lines):
            found.append({"text": label.text, "x": label.x, "y": label.y, **(_line(label, x, y) if label.line else {})})
    return found


def together(placed: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Dots by those that touch each other, directly or through others, so that one cannot tell them apart."""
    groups: list[list[dict[str, Any]]] = []
    for dot in placed:
        near = [group for group in groups if any(_touch(dot, other) for other in group)]
        groups = [group for group in groups if group not in near] + [[d for group in near for d in group] + [dot]]
    return groups


def _touch(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    apart = math.hypot(one["x"] - other["x"], one["y"] - other["y"])
    return one["prefix"] == other["prefix"] and one["hollow"] == other["hollow"] and apart < 1.5 * RADIUS


def joined(labels: Sequence[str]) -> str:
    """Labels as one; numbers that follow each other as ranges.

    Example:
        >>> joined(["1", "2", "3", "7"]), joined(["dense", "pruned", "dense"])
        ('1–3, 7', 'dense, pruned')
    """
    if not all(label.isdecimal() for label in labels):
        return ", ".join(dict.fromkeys(labels))
    runs = []
    for _, group in groupby(enumerate(sorted(set(map(int, labels)))), key=lambda at: at[1] - at[0]):
        numbers = [number for _, number in group]
        runs.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}")
    return ", ".join(runs)


def spread(marks: Sequence[tuple[float, str]], base: float) -> list[dict[str, Any]]:
    """Marks of an axis that lies across, without the texts that would overlap the one before or leave the drawing."""
    found: list[dict[str, Any]] = []
    end = 0.0
    for at, text in marks:
        box = text_box(text, at, base)
        fits = box.x0 >= end and box.x1 <= WIDE
        end = box.x1 + 4 if fits else end
        found.append({"at": at, "label": text if fits else ""})
    return found


def fitted(values: Sequence[float]) -> tuple[float, float]:
    """The range of an axis: that of the values, and a little room.

    Example:
        >>> fitted([1.0, 2.0])
        (0.94, 2.06)
    """
    low, high = min(values), max(values)
    least = LEAST * max(abs(low), abs(high), 1.0)
    room = max(ROOM * (high - low), (least - (high - low)) / 2)
    return low - room, high + room


def ticks(low: float, high: float) -> list[float]:
    """Round numbers in a range."""
    step = _round((high - low) / TICKS)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def scale(of: tuple[float, float], start: float, end: float) -> Callable[[float], float]:
    """From a value in a range to its place between `start` and `end`."""
    low, high = of

    def at(value: float) -> float:
        return round(start + (value - low) / (high - low) * (end - start), 1)

    return at


def _round(step: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= step * (1 - 1e-9))


def _line(label: Label, x: float, y: float) -> dict[str, float]:
    """From a dot to the nearest point of its label's box."""
    box = label.box
    return {"x0": x, "y0": y, "x1": round(min(max(x, box.x0), box.x1), 1), "y1": round(min(max(y, box.y0), box.y1), 1)}
