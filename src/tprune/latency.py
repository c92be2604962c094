"""Latency tables: what each kind of sublayer, and the residual width, costs on this machine; and from that any plan's time.

Every point of a table is the whole exported model with one kind of coupling cut to one size in all layers of one side, timed
against the dense model in turns (`tprune.latency_points`). Caches and fixed costs are therefore those of the real graph.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.bench import RUNTIME
from tprune.errors import InputError
from tprune.files import read_json
from tprune.plan import Plan
from tprune.sublayers import Shares, combined, left_of, place_of, sublayers_of, width_of

FORMAT = 2  # of the file; points of format 1 had no kind
RUNTIMES = (RUNTIME,)
MODEL = "model"  # the place of the residual width
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """What is timed: `source` tokens in, a decoder step after `past` tokens, with `threads` and `batch` sentences at once.

    Raises:
        InputError: a runtime that does not exist.
    """

    threads: int = 1
    batch: int = 1
    source: int = 15
    past: int = 8
    rounds: int = 8
    sentences: int = 20
    runtime: str = RUNTIME

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise InputError(f"runtime {self.runtime!r} cannot be timed; there is {', '.join(RUNTIMES)}")


@dataclass(frozen=True)
class Times:
    """Milliseconds of an encoder pass, a decoder step, and a whole sentence."""

    encoder: float
    decoder_step: float
    sentence: float


@dataclass(frozen=True)
class Point:
    """One kind of coupling at one place and share: milliseconds saved in encoder and decoder step.

    Saved per sublayer, with the other kinds whole; kind `sublayer` (share 0) is one of which nothing is left. At the place
    `model` kind `width` is saved by the whole model.
    """

    place: str
    kind: str
    share: float
    encoder: float
    decoder_step: float


@dataclass(frozen=True)
class LatencyTable:
    """Times of the dense model and what its sublayers save when they are cut; see the module.

    Attributes:
        key: what it is valid for.
        setting: how it was measured.
        dense: the dense model's times.
        tokens: written per sentence.
        overhead: what a sentence takes per token beside its decoder step, in ms.
        points: see `Point`.
        machine: where.
        peak_memory: of the process that runs the dense model, in bytes.
        adds: how much of the sum of single savings whole plans save, in encoder and step; 1 until `confirm` has found otherwise.
    """

    key: str
    setting: Setting
    dense: Times
    tokens: float
    overhead: float
    points: tuple[Point, ...]
    machine: Mapping[str, Any]
    peak_memory: int = 0
    adds: tuple[float, float] = (1.0, 1.0)
    format: int = field(default=FORMAT)

    def saved(self, place: str, kind: str, share: float) -> Floats:
        """Milliseconds (encoder, decoder step) that one sublayer saves with this kind at this share of its size, the others whole.

        Straight lines between the points, and on below the smallest. With nothing left a sublayer saves more than the line says,
        its operations too: that is a point of its own.

        Raises:
            InputError: what was not measured.
        """
        if share == 1:
            return np.zeros(2)
        removed = self._curve(place, "sublayer")
        if kind == "sublayer" or (share == 0 and removed):
            if not removed:
                raise self._unknown(place, kind)
            return removed[0][1]
        curve = [*self._curve(place, kind), (1.0, np.zeros(2))]
        if len(curve) == 1:
            raise self._unknown(place, kind)
        (low, at_low), (high, at_high) = next(pair for pair in pairwise(curve) if share <= pair[1][0])
        found: Floats = at_low + (at_high - at_low) * (share - low) / (high - low)
        return np.minimum(found, np.maximum(removed[0][1], at_low)) if removed and share < low else found

    def at_width(self, width: float) -> Floats:
        """Milliseconds (encoder, decoder step) with this share of the residual width and every sublayer whole."""
        return np.array([self.dense.encoder, self.dense.decoder_step]) - self.saved(MODEL, "width", width)

    def predict(self, shares: Mapping[str, Shares], width: float = 1.0) -> Times:
        """Times of a model whose sublayers, by name, keep these shares by kind, and the residual this share of its width.

        `dense − adds · (saved by the width + Σ_sublayers saved · time at the width / dense time)`, for encoder and step each.
        """
        dense = np.array([self.dense.encoder, self.dense.decoder_step])
        base = self.at_width(width)
        saved = dense - base
        for name, mine in shares.items():
            saved = saved + self.saved_by(place_of(name), mine) * base / dense
        return self._times(dense - np.array(self.adds) * saved)

    def predict_plan(self, plan: Plan) -> Times:
        """Times of a selected plan's model."""
        return self.predict(shares_of(plan), width_of(plan))

    def saved_by(self, place: str, shares: Shares) -> Floats:
        """Milliseconds (encoder, decoder step) that one sublayer with several kinds cut saves."""
        found: Floats = combined(lambda kind, share: self.saved(place, kind, share), shares) + np.zeros(2)
        return found

    def sentence(self, encoder: float, decoder_step: float) -> float:
        """`encoder + tokens · (decoder step + overhead)`."""
        return encoder + self.tokens * (decoder_step + self.overhead)

    def corrected(self, predicted: Times, measured: Times) -> LatencyTable:
        """The table with `adds` such that it predicts what was measured; where next to nothing is saved, as before."""
        adds = []
        for name, before in zip(("encoder", "decoder_step"), self.adds, strict=True):
            dense, wanted, got = (float(getattr(t, name)) for t in (self.dense, predicted, measured))
            known = dense - wanted > 0.02 * dense
            adds.append(float(np.clip(before * (dense - got) / (dense - wanted), 0.2, 3.0)) if known else before)
        return dataclasses.replace(self, adds=(adds[0], adds[1]))

    def _times(self, parts: Floats) -> Times:
        return Times(float(parts[0]), float(parts[1]), self.sentence(float(parts[0]), float(parts[1])))

    def _curve(self, place: str, kind: str) -> list[tuple[float, Floats]]:
        mine = sorted((p for p in self.points if (p.place, p.kind) == (place, kind)), key=lambda p: p.share)
        return [(p.share, np.array([p.encoder, p.decoder_step])) for p in mine]

    def _unknown(self, place: str, kind: str) -> InputError:
        known = ", ".join(sorted({f"{p.place} {p.kind}" for p in self.points})) or "none"
        return InputError(f"the latency table has no {place} {kind}; measured are {known}")

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @staticmethod
    def load(path: Path) -> LatencyTable:
        """Reads a table back. Raises `InputError` naming the file, and one of an older format."""
        data = read_json(path)
        try:
            if data.get("format") != FORMAT:
                raise ValueError(f"format {data.get('format', 1)}, expected {FORMAT}")
            encoder, step = data["adds"]
            return LatencyTable(
                data["key"], Setting(**data["setting"]), Times(**data["dense"]), float(data["tokens"]), float(data["overhead"]),
                tuple(Point(**point) for point in data["points"]), data["machine"], int(data["peak_memory"]),
                (float(encoder), float(step)),
            )  # fmt: skip
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: no latency table ({type(error).__name__}: {error}); delete it to measure again"
            ) from None


def shares_of(plan: Plan) -> dict[str, dict[str, float]]:
    """The shares that every sublayer of a selected plan keeps, by name and kind.

    Raises:
        InputError: a coupling that lies in no sublayer, such as the lines of a matrix.
    """
    left = left_of(plan)
    return {s.name: s.shares(left[s.name]) for s in sublayers_of(plan)}
