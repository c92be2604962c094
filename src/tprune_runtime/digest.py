"""What a bundle keeps of logits: the largest, its place, and the values at fixed places, position by position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PLACES = 8
NEVER = -1e4  # logits below are of tokens that are never written


def digest(logits: Floats, limit: float) -> dict[str, Any]:
    """The digest of logits, classes last.

    Args:
        logits: of any shape.
        limit: how far logits may be off elsewhere, over the largest |logit|; where the two largest are no farther apart
            than twice that, `argmax` is None.
    """
    rows = _rows(logits)
    classes = rows.shape[-1]
    count = min(PLACES, classes)
    places = [(2 * i + 1) * classes // (2 * count) for i in range(count)]
    scale = float(np.abs(rows[rows > NEVER]).max(initial=1e-30))
    found = rows.argmax(-1).tolist()
    argmax = [None if tied else at for at, tied in zip(found, ties(rows, limit * scale).tolist(), strict=True)]
    values = [[_rounded(x) for x in row] for row in rows[:, places].tolist()]
    largest = [_rounded(x) for x in rows.max(-1).tolist()]
    return {
        **{"shape": list(logits.shape), "scale": _rounded(scale), "places": places},
        **{"max": largest, "argmax": argmax, "values": values},
    }


def ties(rows: Floats, off: float) -> NDArray[np.bool_]:
    """Where the two largest of a row could change places if each were off by so much."""
    if rows.shape[-1] < 2:
        return np.zeros(len(rows), bool)
    second, first = np.partition(rows, -2, axis=-1)[:, -2:].T
    found: NDArray[np.bool_] = first - second <= 2 * off
    return found


def compared(expected: Mapping[str, Any], logits: Floats, limit: float) -> tuple[float, str | None]:
    """How far logits are off, over the largest |logit|, and the first fault; None where there is none.

    Args:
        expected: what `digest` gave elsewhere.
        logits: that were computed here.
        limit: how far they may be off.
    """
    if list(logits.shape) != expected["shape"]:
        return np.inf, f"logits of shape {list(logits.shape)}, expected {expected['shape']}"
    rows = _rows(logits)
    off = np.abs(rows[:, expected["places"]] - np.array(expected["values"])).max(-1)
    off = np.maximum(off, np.abs(rows.max(-1) - np.array(expected["max"]))) / expected["scale"]
    found = rows.argmax(-1).tolist()
    other = np.array([want not in (None, have) for want, have in zip(expected["argmax"], found, strict=True)], bool)
    wrong = np.flatnonzero(~(off <= limit) | other)  # also where something is no number
    if not len(wrong):
        return float(off.max(initial=0)), None
    steps = logits.shape[1] if logits.ndim == 3 else 1
    row = min(wrong.tolist(), key=lambda at: (at % steps, at))
    where = f"step {row % steps + 1} of input {row // steps + 1}" if logits.ndim == 3 else f"input {row + 1}"
    if off[row] <= limit:
        return float(off.max()), f"{where}: the likeliest is {found[row]}, expected {expected['argmax'][row]}"
    return float(off.max()), f"{where}: logits are off by {off[row]:.2g} of the largest, expected at most {limit:g}"


def _rows(logits: Floats) -> Floats:
    return np.maximum(logits.reshape(-1, logits.shape[-1]), NEVER)


def _rounded(x: float) -> float:
    return float(f"{x:.6g}")
