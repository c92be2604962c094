"""Which token each frame says of a transcript: the likeliest path of a model that says a token or a blank in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def aligned(scores: NDArray[Any], tokens: Sequence[int], blank: int) -> list[int] | None:
    """The likeliest path through a transcript: tokens in order, each for one frame or more, blanks between them.

    Two equal tokens in a row have a blank between them.

    Args:
        scores: logarithms of probabilities, (frames, tokens).
        tokens: of the transcript.
        blank: the token that says nothing.

    Returns:
        a token for each frame; None where there are too few frames.

    References:
        Graves et al., Connectionist temporal classification, 2006.

    Example:
        >>> says = np.log(np.array([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]))
        >>> aligned(says, [1, 2, 2], blank=0)
        [1, 2, 0, 2]
    """
    path = np.full(2 * len(tokens) + 1, blank)
    path[1::2] = tokens
    skips = np.zeros(len(path), bool)  # whether the blank before a token may be left out
    skips[3::2] = path[3::2] != path[1:-2:2]
    best = np.full(len(path), -np.inf)
    best[:2] = scores[0, path[:2]]
    came = np.zeros((len(scores), len(path)), np.int64)
    for frame in range(1, len(scores)):
        ways = np.full((3, len(path)), -np.inf)
        ways[0], ways[1, 1:] = best, best[:-1]
        ways[2, 2:] = np.where(skips[2:], best[:-2], -np.inf)
        came[frame] = ways.argmax(0)
        best = ways.max(0) + scores[frame, path]
    place = len(path) - 1 - int(len(path) > 1 and best[-2] > best[-1])
    if not np.isfinite(best[place]):
        return None
    said = list[int]()
    for frame in range(len(scores) - 1, -1, -1):
        said.append(int(path[place]))
        place -= int(came[frame, place])
    return said[::-1]


def spoken(frames: Sequence[int], blank: int) -> list[int]:
    """The tokens that frames say: of equal ones in a row one, without blanks.

    Example:
        >>> spoken([1, 1, 0, 2, 2, 0, 2], blank=0)
        [1, 2, 2]
    """
    return [token for before, token in zip([blank, *frames], frames, strict=False) if token not in (before, blank)]
