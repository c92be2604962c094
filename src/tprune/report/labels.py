"""Places for the labels of a chart, so that no two texts overlap and none leaves the frame."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SIZE = 13  # of a chart's text, in units of its viewBox; a chart on a phone is drawn at 0.85 of it
ASCENT, DESCENT = 1.0, 0.28  # of a line of text, in shares of its size
WIDE, NARROW = 1.05, 0.68  # of a character, in shares of its size; fonts differ, so these are generous
RINGS = (8, 16, 32, 46, 62, 80, 100, 125, 150, 180)  # distances between a point and its label
ANGLES = 24


@dataclass(frozen=True)
class Box:
    """A rectangle; y grows downwards."""

    x0: float
    y0: float
    x1: float
    y1: float

    def meets(self, other: Box) -> bool:
        """Whether the two share an area."""
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def holds(self, other: Box) -> bool:
        """Whether the other lies inside."""
        return self.x0 <= other.x0 and other.x1 <= self.x1 and self.y0 <= other.y0 and other.y1 <= self.y1


@dataclass(frozen=True)
class Label:
    """Where a text goes: the middle of its base line.

    `line` says that it lies so far off that a line must lead to it.
    """

    text: str
    x: float
    y: float
    box: Box
    line: bool


def width_of(text: str, size: float = SIZE) -> float:
    """About how wide a text is, rather more than less.

    Example:
        >>> width_of("12", 10) < width_of("中文", 10)
        True
    """
    return size * sum(WIDE if unicodedata.east_asian_width(sign) in "WF" else NARROW for sign in text)


def text_box(text: str, x: float, y: float, anchor: str = "middle", size: float = SIZE) -> Box:
    """The box of a text at `x`, as `text-anchor` has it, with its base line at `y`."""
    wide = width_of(text, size)
    left = x - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
    return Box(left, y - ASCENT * size, left + wide, y + DESCENT * size)


def place(text: str, x: float, y: float, frame: Box, taken: list[Box], lines: Sequence[Box] = ()) -> Label | None:
    """The nearest free place for the label of the point at `x`, `y`; it is noted in `taken`.

    None where no place is free.

    Args:
        text: of the label.
        x: of the point; `y` likewise.
        y: see `x`.
        frame: what the label must not leave.
        taken: what it must not overlap.
        lines: what it leaves free if there is room beside the point.

    Example:
        >>> place("a", 50, 50, Box(0, 0, 100, 100), []).line
        False
        >>> place("much too long for its frame", 50, 50, Box(0, 0, 100, 100), []) is None
        True
    """
    for avoided, rings in (([*taken, *lines], RINGS[:2]), (taken, RINGS)):
        for distance, middle_x, base in _places(text, x, y, rings):
            box = text_box(text, middle_x, base)
            if frame.holds(box) and not any(box.meets(other) for other in avoided):
                taken.append(box)
                return Label(text, round(middle_x, 1), round(base, 1), box, distance > RINGS[1])
    return None


def _places(text: str, x: float, y: float, rings: Sequence[int]) -> Iterator[tuple[float, float, float]]:
    """Distance, middle and base line of the places around a point: to the right, then round it, then further off."""
    half, middle = width_of(text) / 2, (ASCENT - DESCENT) / 2 * SIZE
    for distance in rings:
        for i in range(ANGLES):
            angle = 2 * math.pi * (i - ANGLES / 12) / ANGLES
            across, down = math.cos(angle), math.sin(angle)
            yield distance, x + across * (distance + half), y + down * (distance + SIZE / 2) + middle
