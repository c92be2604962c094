"""Latency tables: what each kind of sublayer, and the residual width, costs on this machine; and from that any plan's time.

Every point of a table is the whole exported model with one kind of coupling cut to one size in all layers of one side, timed
against the dense model in turns (`tprune.latency_points`). Caches and fixed costs are therefore those of the real graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.errors import InputError
from tprune.files import read_json
from tprune.plan import Plan
from tprune.runtimes.runtime import runtime_named
from tprune.sublayers import Shares, combined, left_of, place_of, sublayers_of, width_of

FORMAT = 4  # of the file; format 3 timed graphs without attention operators, format 2 single decoder steps, format 1 knew no kinds
MODEL = "model"  # the place of the residual width
LEAST = 0.02  # of the dense time: nothing is predicted to be faster
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """What is timed: an encoder pass over `source` tokens and whole `sentences`, `batch` at once, with `threads`.

    Raises:
        InputError: a runtime that does not exist.
    """

    threads: int = 1
    batch: int = 1
    source: int = 15
    rounds: int = 8
    sentences: int = 20
    runtime: str = "onnxruntime"

    def __post_init__(self) -> None:
        runtime_named(self.runtime)


@dataclass(frozen=True)
class Times:
    """Milliseconds of an encoder pass, of a written token with everything that goes with it, and of a whole sentence.

    `sentence = encoder + tokens · token`. A token takes longer than a decoder step alone: caches grow, and something chooses words.
    """

    encoder: float
    token: float
    sentence: float


@dataclass(frozen=True)
class Point:
    """One kind of coupling at one place and share: milliseconds saved in the encoder and in every token.

    Saved per sublayer, with the other kinds whole; kind `sublayer` (share 0) is one of which nothing is left. At the place
    `model` kind `width` is saved by the whole model.
    """

    place: str
    kind: str
    share: float
    encoder: float
    token: float


@dataclass(frozen=True)
class Anchor:
    """A whole plan that was timed: (encoder, token) in milliseconds as single savings add up, and as measured; and what it kept."""

    added: tuple[float, float]
    measured: tuple[float, float]
    shares: Mapping[str, Shares] = field(default_factory=dict)
    width: float = 1.0

    def added_up(self, table: LatencyTable) -> Anchor:
        """The same with the savings of another table."""
        encoder, token = (float(x) for x in table.added(self.shares, self.width))
        return replace(self, added=(encoder, token))


@dataclass(frozen=True)
class LatencyTable:
    """Times of the dense model and what its sublayers save when they are cut; see the module.

    Attributes:
        key: what it is valid for.
        setting: how it was measured.
        dense: the dense model's times.
        tokens: written per sentence.
        points: see `Point`.
        machine: where.
        peak_memory: of the process that runs the dense model, in bytes.
        anchors: savings do not quite add up: what is left runs faster from a smaller cache, and fixed costs stay. These say by how much.
    """

    key: str
    setting: Setting
    dense: Times
    tokens: float
    points: tuple[Point, ...]
    machine: Mapping[str, Any]
    peak_memory: int = 0
    anchors: tuple[Anchor, ...] = ()
    format: int = field(default=FORMAT)

    def saved(self, place: str, kind: str, share: float) -> Floats:
        """Milliseconds (encoder, token) that one sublayer saves with this kind at this share of its size, the others whole.

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
        """Milliseconds (encoder, token) with this share of the residual width and every sublayer whole."""
        return self._dense - self.saved(MODEL, "width", width)

    @property
    def _dense(self) -> Floats:
        return np.array([self.dense.encoder, self.dense.token])

    def added(self, shares: Mapping[str, Shares], width: float = 1.0) -> Floats:
        """Milliseconds (encoder, token) if single savings added up; arguments as in `predict`.

        `dense − saved by the width − Σ_sublayers saved · time at the width / dense time`.
        """
        base = self.at_width(width)
        saved = np.zeros(2)
        for name, mine in shares.items():
            saved = saved + self.saved_by(place_of(name), mine) * base / self._dense
        found: Floats = base - saved
        return found

    def predict(self, shares: Mapping[str, Shares], width: float = 1.0) -> Times:
        """Times of a model whose sublayers, by name, keep these shares by kind, and the residual this share of its width.

        What single savings add up to, read off the straight lines between the anchors (and the dense model), for encoder and
        token each.
        """
        return self._times(self.anchored(self.added(shares, width)))

    def anchored(self, added: Floats) -> Floats:
        """What is to be expected where single savings add up to these milliseconds (encoder, token)."""
        found = []
        for i, dense in enumerate(self._dense):
            known = {float(a.added[i]): a.measured[i] for a in self.anchors if a.added[i] < 0.98 * dense} | {
                float(dense): dense
            }
            xs = sorted(known)
            ys = [known[x] for x in xs]
            x = float(added[i])
            if len(xs) > 1 and x < xs[0]:  # on along the first line
                y = ys[0] + (x - xs[0]) * max(0.0, (ys[1] - ys[0]) / (xs[1] - xs[0]))
            else:
                y = float(np.interp(x, xs, ys)) if x <= dense and len(xs) > 1 else x
            found.append(max(y, LEAST * dense))
        return np.array(found)

    def adds(self, added: Floats) -> Floats:
        """How much of what single savings add up to a model saves, for encoder and token each."""
        saved = self._dense - added
        real = self._dense - self.anchored(added)
        found: Floats = np.where(saved > 0.02 * self._dense, real / np.maximum(saved, 1e-9), 1.0)
        return found.clip(0.1, 3.0)

    def adds_at(self, milliseconds: float) -> Floats:
        """`adds` where a model whose parts shrink alike takes so long for a sentence."""
        low, high = 0.0, 1.0
        for _ in range(30):
            middle = (low + high) / 2
            fast = self._times(self.anchored(self._dense * middle)).sentence < milliseconds
            low, high = (middle, high) if fast else (low, middle)
        return self.adds(self._dense * high)

    def predict_plan(self, plan: Plan) -> Times:
        """Times of a selected plan's model."""
        return self.predict(shares_of(plan), width_of(plan))

    def with_anchor(self, plan: Plan, measured: Times) -> LatencyTable:
        """The table that knows how fast this plan is."""
        found = Anchor((0.0, 0.0), (measured.encoder, measured.token), shares_of(plan), width_of(plan))
        return replace(self, anchors=(*self.anchors, found.added_up(self)))

    def spelled(self, saved: float, longer: float) -> LatencyTable:
        """The table of the same model when it saves so many milliseconds in every token and writes `longer` times as many.

        What cutting saves stays the same: it is other matrices that it cuts. See `tprune.spelling`.
        """
        token, tokens = self.dense.token - saved, self.tokens * longer
        dense = Times(self.dense.encoder, token, self.dense.encoder + tokens * token)
        anchors = (
            replace(a, added=(a.added[0], a.added[1] - saved), measured=(a.measured[0], a.measured[1] - saved))
            for a in self.anchors
        )
        return replace(self, dense=dense, tokens=tokens, anchors=tuple(anchors))

    def saved_by(self, place: str, shares: Shares) -> Floats:
        """Milliseconds (encoder, token) that one sublayer with several kinds cut saves."""
        found: Floats = combined(lambda kind, share: self.saved(place, kind, share), shares) + np.zeros(2)
        return found

    def sentence(self, encoder: float, token: float) -> float:
        """`encoder + tokens · token`."""
        return encoder + self.tokens * token

    def _times(self, parts: Floats) -> Times:
        return Times(float(parts[0]), float(parts[1]), self.sentence(float(parts[0]), float(parts[1])))

    def _curve(self, place: str, kind: str) -> list[tuple[float, Floats]]:
        mine = sorted((p for p in self.points if (p.place, p.kind) == (place, kind)), key=lambda p: p.share)
        return [(p.share, np.array([p.encoder, p.token])) for p in mine]

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
            anchors = (
                (tuple(map(float, a["added"])), tuple(map(float, a["measured"])), a["shares"], float(a["width"]))
                for a in data["anchors"]
            )
            return LatencyTable(
                data["key"], Setting(**data["setting"]), Times(**data["dense"]), float(data["tokens"]),
                tuple(Point(**point) for point in data["points"]), data["machine"], int(data["peak_memory"]),
                tuple(Anchor((a[0], a[1]), (m[0], m[1]), shares, width) for a, m, shares, width in anchors),
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
