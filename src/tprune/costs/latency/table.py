"""Latency tables: the price of each kind of sublayer and of the residual width on this machine, and the time of plans.

A table is made of plans that cut many things at once, each exported whole and timed against the dense model in turns
(`tprune.costs.latency.timer`), so caches and fixed costs are those of the real graph; prices are fitted to all of them
(`tprune.costs.latency.fit`).

Prices are additive: their sum (`additive_ms`) is a first prediction, which the `curve` of the table maps to the time
that is expected (`predicted_ms`), since a smaller model also runs faster from the cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.core.kinds import COVERING, WHOLE_BLOCK, WIDTH
from tprune.core.plan import Plan
from tprune.core.sites import Site, site_from_name
from tprune.core.sublayers import KeptFractions, combined, kept_counts, sublayers_of, width_of
from tprune.runtimes.runtime import runtime_named
from tprune.support.errors import InputError
from tprune.support.files import read_json

FORMAT = 5  # of the file; formats up to 4 timed one kind of coupling at a time
MODEL = "model"  # the place of the residual width
LONGEST = 1000  # rounds of one plan
LEAST_TIME = 0.02  # of the dense time: nothing is predicted to be faster
Floats = NDArray[np.float64]
Pair = tuple[float, float]
TIMED = ("encoder", "sentence")
Ratios = Mapping[str, Sequence[float]]  # dense over pruned time of every round, of each that is `TIMED`


@dataclass(frozen=True)
class TimingConfig:
    """How models are timed: an encoder pass over `source` tokens and whole `sentences`, by `batch` and `threads`.

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
class TimedPlan:
    """A plan that was timed: the fractions it keeps by site and kind, its share of the width, and its ratios."""

    shares: Mapping[Site, KeptFractions]
    width: float
    ratios: Ratios

    @property
    def medians(self) -> dict[str, float]:
        """Dense over pruned time, over all rounds."""
        return {name: median(self.ratios[name]) for name in TIMED}


@dataclass(frozen=True)
class Price:
    """What one kind of coupling takes at one place: milliseconds in the encoder and in every token.

    Of one sublayer with all its lines, at the whole width; kind `sublayer` is what takes time whatever its sizes, and goes with the
    sublayer alone. At the place `model` kind `width` is what the whole model takes in proportion to its width.
    """

    place: str
    kind: str
    encoder: float
    token: float


@dataclass(frozen=True)
class LatencyCurve:
    """Points (sum of prices, measured time) in milliseconds, ascending; times between them are interpolated."""

    encoder: tuple[Pair, ...]
    token: tuple[Pair, ...]


@dataclass(frozen=True)
class LatencyTable:
    """Times of the dense model and what its sublayers save when they are cut; see the module.

    Attributes:
        key: what it is valid for.
        setting: how it was measured.
        dense: the dense model's times.
        tokens: written per sentence.
        plans: that were timed.
        machine: where.
        peak_memory: of the process that runs the dense model, in bytes.
        prices: see `Price`.
        dense_spread: how far the 95 % interval of the dense sentence's median time reaches from its middle.
        curve: prices do not quite add up: what is left runs faster from a smaller cache. Its last pair is the dense model's, whose
            prices need not add up to its time either; empty where they do.
    """

    key: str
    setting: TimingConfig
    dense: Times
    tokens: float
    plans: tuple[TimedPlan, ...]
    machine: Mapping[str, object]
    peak_memory: int = 0
    prices: tuple[Price, ...] = ()
    curve: LatencyCurve = LatencyCurve((), ())
    format: int = field(default=FORMAT)
    dense_spread: float = 0.0

    def saved(self, place: str, kind: str, share: float, width: float = 1.0) -> Floats:
        """Milliseconds (encoder, token) that one sublayer saves with this kind at this share of its size, the others whole.

        In proportion to what is cut, and to the share of the width. With nothing left a sublayer saves its operations too.

        Raises:
            InputError: what was not measured.
        """
        if share == 1:
            return np.zeros(2)
        if kind == WHOLE_BLOCK or (share == 0 and self._knows(place, WHOLE_BLOCK)):
            weights = [p for p in self.prices if p.place == place and p.kind in COVERING]
            return self._price(place, WHOLE_BLOCK) + width * sum((_pair(p) for p in weights), np.zeros(2))
        return width * (1 - share) * self._price(place, kind)

    def at_width(self, width: float) -> Floats:
        """The sum of prices at this share of the width, every sublayer whole: milliseconds (encoder, token)."""
        return (
            self.additive_dense_ms if width == 1 else self.additive_dense_ms - (1 - width) * self._price(MODEL, WIDTH)
        )

    @property
    def additive_dense_ms(self) -> Floats:
        """The sum of the dense model's prices: milliseconds (encoder, token)."""
        return np.array(
            [pairs[-1][0] if pairs else dense for pairs, dense in zip(self._pairs, self._dense, strict=True)]
        )

    @property
    def _dense(self) -> Floats:
        return np.array([self.dense.encoder, self.dense.token])

    @property
    def _pairs(self) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
        return self.curve.encoder, self.curve.token

    def additive_ms(self, shares: Mapping[Site, KeptFractions], width: float = 1.0) -> Floats:
        """The sum of prices, in milliseconds (encoder, token); arguments as in `predict`."""
        saved = [self.saved_by(site.place, mine, width) for site, mine in shares.items()]
        return self.at_width(width) - sum(saved, np.zeros(2))

    def predict(self, shares: Mapping[Site, KeptFractions], width: float = 1.0) -> Times:
        """Times of a model whose sublayers, by site, keep these shares by kind, and the residual this share of its width."""
        return self._times(self.predicted_ms(self.additive_ms(shares, width)))

    def predicted_ms(self, additive: Floats) -> Floats:
        """The expected milliseconds (encoder, token) for a sum of prices; below the curve, along its first segment."""
        found = [
            max(_read(pairs, float(x)), LEAST_TIME * dense)
            for pairs, dense, x in zip(self._pairs, self._dense, additive, strict=True)
        ]
        return np.array(found)

    def savings_realised(self, additive: Floats) -> Floats:
        """The share of the additive savings that a model with this sum of prices realises, for encoder and token."""
        saved = self.additive_dense_ms - additive
        real = self._dense - self.predicted_ms(additive)
        found: Floats = np.where(saved > 0.02 * self._dense, real / np.maximum(saved, 1e-9), 1.0)
        return found.clip(0.1, 3.0)

    def savings_realised_at(self, milliseconds: float) -> Floats:
        """`savings_realised` of a model that takes so long for a sentence, its prices all shrunk by one factor."""
        low, high = 0.0, 1.0
        for _ in range(30):
            middle = (low + high) / 2
            fast = self._times(self.predicted_ms(self.additive_dense_ms * middle)).sentence < milliseconds
            low, high = (middle, high) if fast else (low, middle)
        return self.savings_realised(self.additive_dense_ms * high)

    def predict_plan(self, plan: Plan) -> Times:
        """Times of a selected plan's model."""
        return self.predict(kept_fractions(plan), width_of(plan))

    def corrected_by(self, plan: Plan, measured: Times) -> LatencyTable:
        """The table corrected by the measured time of a plan.

        The factor `measured / predicted` holds for models that save as much or more; it falls to 1 at the dense model.
        """
        additive = self.additive_ms(kept_fractions(plan), width_of(plan))
        times = (measured.encoder, measured.token)
        sides = zip(
            self._pairs, self.additive_dense_ms, self._dense, additive, self.predicted_ms(additive), times, strict=True
        )
        encoder, token = (
            _through(pairs or ((float(whole), float(dense)),), *rest) for pairs, whole, dense, *rest in sides
        )
        return replace(self, curve=LatencyCurve(encoder, token))

    def with_output_vocabulary(self, saved: float, longer: float) -> LatencyTable:
        """The table of the same model with a smaller output vocabulary.

        The savings of couplings stay the same: they lie in other matrices. See `tprune.vocabulary.output_vocabulary`.

        Args:
            saved: milliseconds in every token.
            longer: how many times as many tokens the model writes.
        """
        token, tokens = self.dense.token - saved, self.tokens * longer
        dense = Times(self.dense.encoder, token, self.dense.encoder + tokens * token)
        pairs = tuple((additive - saved, real - saved) for additive, real in self.curve.token)
        return replace(self, dense=dense, tokens=tokens, curve=replace(self.curve, token=pairs))

    def saved_by(self, place: str, shares: KeptFractions, width: float = 1.0) -> Floats:
        """Milliseconds (encoder, token) that one sublayer with several kinds cut saves."""
        found: Floats = combined(lambda kind, share: self.saved(place, kind, share, width), shares) + np.zeros(2)
        return found

    def times(self, ratios: Mapping[str, float]) -> Times:
        """Times of a model, from how many times faster than the dense one it is in each that is `TIMED`."""
        encoder, sentence = (getattr(self.dense, name) / ratios[name] for name in TIMED)
        return Times(encoder, (sentence - encoder) / self.tokens, sentence)

    def sentence(self, encoder: float, token: float) -> float:
        """`encoder + tokens · token`."""
        return encoder + self.tokens * token

    def _times(self, parts: Floats) -> Times:
        return Times(float(parts[0]), float(parts[1]), self.sentence(float(parts[0]), float(parts[1])))

    def _knows(self, place: str, kind: str) -> bool:
        return any((p.place, p.kind) == (place, kind) for p in self.prices)

    def _price(self, place: str, kind: str) -> Floats:
        for price in self.prices:
            if (price.place, price.kind) == (place, kind):
                return _pair(price)
        known = ", ".join(sorted({f"{p.place} {p.kind}" for p in self.prices})) or "none"
        raise InputError(f"the latency table has no {place} {kind}; measured are {known}")

    def to_dict(self) -> dict[str, object]:
        """Plain data, in which sublayers go by their names."""
        plans = tuple(_timed_to_dict(timed) for timed in self.plans)
        return asdict(replace(self, plans=())) | {"plans": plans}

    @staticmethod
    def load(path: Path) -> LatencyTable:
        """Reads a table back. Raises `InputError` naming the file, and one of an older format."""
        return LatencyTable.of(read_json(path), path)

    @staticmethod
    def of(data: object, path: Path) -> LatencyTable:
        """A table from plain data of this file. Raises `InputError` as `load`."""
        return _table(data, path)


def _table(data: Any, path: Path) -> LatencyTable:
    try:
        if data.get("format") != FORMAT:
            raise ValueError(f"format {data.get('format', 1)}, expected {FORMAT}")
        if not all(0 < x < math.inf for x in (*data["dense"].values(), data["tokens"])):
            raise ValueError(f"times {data['dense']} of sentences of {data['tokens']} tokens")
        plans = (TimedPlan(_fractions(p["shares"]), _share(p["width"]), _rounds(p["ratios"])) for p in data["plans"])
        curve = (tuple(map(_two, data["curve"][side])) for side in ("encoder", "token"))
        return LatencyTable(
            data["key"], TimingConfig(**data["setting"]), Times(**data["dense"]), float(data["tokens"]), tuple(plans),
            data["machine"], int(data["peak_memory"]), tuple(Price(**price) for price in data["prices"]), LatencyCurve(*curve),
            dense_spread=float(data.get("dense_spread", 0.0)),
        )  # fmt: skip
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: no latency table ({type(error).__name__}: {error}); delete it to measure again"
        ) from None


def _timed_to_dict(timed: TimedPlan) -> dict[str, Any]:
    shares = {site.name: dict(each) for site, each in timed.shares.items()}
    return {"shares": shares, "width": timed.width, "ratios": dict(timed.ratios)}


def _pair(price: Price) -> Floats:
    return np.array([price.encoder, price.token])


def _share(data: Any) -> float:
    """A share of a file. Raises `ValueError` for one that nothing can have."""
    if not 0 <= data <= 1:
        raise ValueError(f"a share of {data}")
    return float(data)


def _fractions(data: Mapping[str, Mapping[str, Any]]) -> dict[Site, dict[str, float]]:
    """Shares of a file, by sublayer. Raises `ValueError` for a name that stands for no sublayer."""
    found: dict[Site, dict[str, float]] = {}
    for name, shares in data.items():
        site = site_from_name(name)
        if site is None or site.layer is None:
            raise ValueError(f"shares of {name!r}, which is no sublayer")
        found[site] = {kind: _share(x) for kind, x in shares.items()}
    return found


def _rounds(data: Any) -> Ratios:
    """Ratios of a file. Raises `ValueError` for what no clock says."""
    found = {name: tuple(map(float, data[name])) for name in TIMED}
    if len({len(each) for each in found.values()}) > 1 or not 0 < len(found[TIMED[0]]) <= LONGEST:
        raise ValueError(f"{' and '.join(str(len(each)) for each in found.values())} rounds of a plan")
    if wrong := [x for each in found.values() for x in each if not 0 < x < math.inf]:
        raise ValueError(f"a plan that is {wrong[0]} times as fast")
    return found


def _two(pair: Any) -> Pair:
    first, second = pair
    return float(first), float(second)


def _read(pairs: Sequence[Pair], x: float) -> float:
    """Straight lines between the pairs, and on below the first; `x` itself where there are no lines."""
    if len(pairs) < 2:
        return x
    (x0, y0), (x1, y1) = pairs[:2]
    xs, ys = np.array(pairs).T
    return y0 + (x - x0) * (y1 - y0) / (x1 - x0) if x < x0 else float(np.interp(x, xs, ys))


def _through(pairs: Sequence[Pair], additive: float, predicted: float, measured: float) -> tuple[Pair, ...]:
    """The curve bent to give `measured` at the sum of prices `additive`; its last pair, the dense model's, stays."""
    whole = pairs[-1][0]
    if additive >= 0.98 * whole:
        return tuple(pairs)  # what saves nothing says nothing
    inner, factor = dict(pairs[:-1]) | {float(additive): float(predicted)}, measured / predicted
    bent = [
        (x, float(y * (1 + (factor - 1) * min(1.0, (whole - x) / (whole - additive)))))
        for x, y in sorted(inner.items())
    ]
    return (*bent, pairs[-1])


def kept_fractions(plan: Plan) -> dict[Site, dict[str, float]]:
    """The fractions of its lines that every sublayer of a selected plan keeps, by site and kind.

    Raises:
        InputError: a coupling that lies in no sublayer, such as the lines of a matrix.
    """
    counts = kept_counts(plan)
    return {s.site: s.fractions(counts[s.name]) for s in sublayers_of(plan)}
