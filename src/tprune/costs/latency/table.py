"""Latency tables: the price of each kind of sublayer and of the residual width on this machine, and the time of plans.

A table is made of plans that cut many things at once, each exported whole and timed against the dense model in turns
(`tprune.costs.latency.timer`), so caches and fixed costs are those of the real graph; prices are fitted to all of them
(`tprune.costs.latency.fit`).

What is timed depends on what a model does: an encoder and tokens, one pass, a prompt and steps. These are its phases
(`tprune.costs.latency.phases`), and every price has a number for each part of them.

Prices are additive: their sum (`additive_ms`) is a first prediction, which the `curve` of the table maps to the time
that is expected (`predicted_ms`), since a smaller model also runs faster from the cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np

from tprune.core.kinds import COVERING, WHOLE_BLOCK, WIDTH
from tprune.core.plan import Plan
from tprune.core.precision import FP32, Precision
from tprune.core.sites import Site
from tprune.core.sublayers import KeptFractions, combined, kept_counts, sublayers_of, width_of
from tprune.costs.latency.beside import Beside, more_in_fp32
from tprune.costs.latency.phases import TRANSLATION, Floats, Phases, Times
from tprune.runtimes.runtime import runtime_named
from tprune.support.errors import InputError
from tprune.support.files import read_json

FORMAT = 6  # of the file; formats up to 4 timed one kind of coupling at a time, 5 knew translation alone
MODEL = "model"  # the place of the residual width
LEAST_TIME = 0.02  # of the dense time: nothing is predicted to be faster
Pair = tuple[float, float]
Ratios = Mapping[str, Sequence[float]]  # dense over pruned time of every round, of each that is timed (`Phases.timed`)


@dataclass(frozen=True)
class TimingConfig:
    """How models are timed.

    Attributes:
        threads: cores that one operation may use.
        batch: inputs at once.
        source: tokens of an encoder's pass. Models of one pass, and prompts, are timed on the task's data.
        rounds: how often each model is timed, in turns, at least.
        sentences: how many are translated in a round.
        runtime: the name of the runtime.
        new_tokens: that a language model writes after the prompt, in the time that is quoted; if not given 20, or half
            of what the model has positions for.
        precision: that the exported models compute in.

    Raises:
        InputError: a runtime that does not exist, or no new token.
    """

    threads: int = 1
    batch: int = 1
    source: int = 15
    rounds: int = 8
    sentences: int = 20
    runtime: str = "onnxruntime"
    new_tokens: int | None = None
    precision: Precision = FP32

    def __post_init__(self) -> None:
        if self.new_tokens is not None and self.new_tokens < 1:
            raise InputError(f"{self.new_tokens} new tokens; expected at least 1")
        runtime_named(self.runtime)


@dataclass(frozen=True)
class TimedPlan:
    """A plan that was timed: the fractions it keeps by site and kind, its share of the width, and its ratios."""

    shares: Mapping[Site, KeptFractions]
    width: float
    ratios: Ratios

    @property
    def medians(self) -> dict[str, float]:
        """Dense over pruned time, over all rounds."""
        return {name: median(rounds) for name, rounds in self.ratios.items()}


@dataclass(frozen=True)
class Price:
    """What one kind of coupling takes at one place: milliseconds in each part, such as the encoder and every token.

    Of one sublayer with all its lines, at the whole width; kind `sublayer` is what takes time whatever its sizes, and
    goes with the sublayer alone. At the place `model` kind `width` is what the whole model takes in proportion to its
    width.
    """

    place: str
    kind: str
    ms: tuple[float, ...]


@dataclass(frozen=True)
class LatencyCurve:
    """Of each part the points (sum of prices, measured time) in milliseconds, ascending.

    Times between them are interpolated.
    """

    parts: tuple[tuple[Pair, ...], ...] = ()


@dataclass(frozen=True)
class LatencyTable:
    """Times of the dense model and what its sublayers save when they are cut; see the module.

    Attributes:
        key: what it is valid for.
        setting: how it was measured.
        dense: the dense model's times.
        tokens: how often the last part is in the quoted time: tokens of a sentence, say; 1 where there is one part.
        plans: that were timed.
        machine: where.
        peak_memory: of the process that runs the dense model, in bytes.
        prices: see `Price`.
        dense_spread: how far the 95 % interval of the dense model's median quoted time reaches from its middle.
        curve: prices do not quite add up: what is left runs faster from a smaller cache. Its last pair is the dense
            model's, whose prices need not add up to its time either; empty where they do.
        phases: what is timed, and what is quoted.
        format: the version of the table's file format.
        beside: the table of the same model in fp32, for plans that keep a part of it so; it lies in a file of its own.
    """

    key: str
    setting: TimingConfig
    dense: Times
    tokens: float
    plans: tuple[TimedPlan, ...]
    machine: Mapping[str, object]
    peak_memory: int = 0
    prices: tuple[Price, ...] = ()
    curve: LatencyCurve = LatencyCurve()
    format: int = field(default=FORMAT)
    dense_spread: float = 0.0
    phases: Phases = TRANSLATION
    beside: Beside | None = None

    def whole(self, place: str, width: float = 1.0) -> Floats:
        """What one whole sublayer takes: milliseconds of each part."""
        mine = [p for p in self.prices if p.place == place]
        ends = (np.array(p.ms) for p in mine if p.kind == WHOLE_BLOCK)
        found: Floats = sum(ends, self._nothing) + width * sum(
            (np.array(p.ms) for p in mine if p.kind in COVERING), self._nothing
        )
        return found

    def saved(self, place: str, kind: str, share: float, width: float = 1.0) -> Floats:
        """Milliseconds of each part that one sublayer saves with this kind at this share of its size, the others whole.

        In proportion to what is cut, and to the share of the width. With nothing left a sublayer saves its operations
        too.

        Raises:
            InputError: what was not measured.
        """
        if share == 1:
            return self._nothing
        if kind == WHOLE_BLOCK or (share == 0 and self._knows(place, WHOLE_BLOCK)):
            weights = [p for p in self.prices if p.place == place and p.kind in COVERING]
            return self._price(place, WHOLE_BLOCK) + width * sum((np.array(p.ms) for p in weights), self._nothing)
        return width * (1 - share) * self._price(place, kind)

    def at_width(self, width: float) -> Floats:
        """The sum of prices at this share of the width, every sublayer whole: milliseconds of each part."""
        return (
            self.additive_dense_ms if width == 1 else self.additive_dense_ms - (1 - width) * self._price(MODEL, WIDTH)
        )

    @property
    def additive_dense_ms(self) -> Floats:
        """The sum of the dense model's prices: milliseconds of each part."""
        return np.array(
            [pairs[-1][0] if pairs else dense for pairs, dense in zip(self._pairs, self.dense.array, strict=True)]
        )

    @property
    def _nothing(self) -> Floats:
        return np.zeros(len(self.phases.parts))

    @property
    def _pairs(self) -> tuple[tuple[Pair, ...], ...]:
        return self.curve.parts or ((),) * len(self.phases.parts)

    def additive_ms(self, shares: Mapping[Site, KeptFractions], width: float = 1.0) -> Floats:
        """The sum of prices, in milliseconds of each part; arguments as in `predict`."""
        saved = [self.saved_by(site.place, mine, width) for site, mine in shares.items()]
        return self.at_width(width) - sum(saved, self._nothing)

    def predict(self, shares: Mapping[Site, KeptFractions], width: float = 1.0) -> Times:
        """Times of a model whose sublayers, by site, keep these shares by kind, and the residual this share."""
        return self.phases.times(self.predicted_ms(self.additive_ms(shares, width)), self.tokens)

    def predicted_ms(self, additive: Floats) -> Floats:
        """The expected milliseconds of each part for a sum of prices; below the curve, along its first segment."""
        found = [
            max(_read(pairs, float(x)), LEAST_TIME * dense)
            for pairs, dense, x in zip(self._pairs, self.dense.array, additive, strict=True)
        ]
        return np.array(found)

    def savings_realised(self, additive: Floats) -> Floats:
        """The share of the additive savings that a model with this sum of prices realises, in each part."""
        saved = self.additive_dense_ms - additive
        real = self.dense.array - self.predicted_ms(additive)
        found: Floats = np.where(saved > 0.02 * self.dense.array, real / np.maximum(saved, 1e-9), 1.0)
        return found.clip(0.1, 3.0)

    def savings_realised_at(self, milliseconds: float) -> Floats:
        """`savings_realised` of a model whose quoted time is so long, its prices all shrunk by one factor."""
        low, high = 0.0, 1.0
        for _ in range(30):
            middle = (low + high) / 2
            fast = self._quoted(self.predicted_ms(self.additive_dense_ms * middle)) < milliseconds
            low, high = (middle, high) if fast else (low, middle)
        return self.savings_realised(self.additive_dense_ms * high)

    def predict_plan(self, plan: Plan) -> Times:
        """Times of a selected plan's model."""
        shares, width = kept_fractions(plan), width_of(plan)
        found = self.predict(shares, width)
        if self.beside is None or plan.precision is None:
            return found
        more = more_in_fp32(self, self.beside, shares, width, plan.precision)
        return self.phases.times(np.maximum(found.array + more, LEAST_TIME * self.dense.array), self.tokens)

    def corrected_by(self, plan: Plan, measured: Times) -> LatencyTable:
        """The table corrected by the measured time of a plan.

        The factor `measured / predicted` holds for models that save as much or more; it falls to 1 at the dense model.
        What a plan in both precisions misses is put down to its part in fp32 first (`Beside.corrected_by`).
        """
        shares, width = kept_fractions(plan), width_of(plan)
        additive, own, beside = self.additive_ms(shares, width), measured.array, self.beside
        predicted = self.predicted_ms(additive)
        if beside is not None and plan.precision is not None:
            more = more_in_fp32(self, replace(beside, factor=()), shares, width, plan.precision)
            beside = beside.corrected_by(more, own - predicted)
            own = np.maximum(own - beside.factors * more, LEAST_TIME * self.dense.array)
        found = (self.dense.array, additive, predicted, own)
        sides = zip(self._pairs, self.additive_dense_ms, *found, strict=True)
        bent = (_through(pairs or ((float(whole), float(dense)),), *rest) for pairs, whole, dense, *rest in sides)
        return replace(self, curve=LatencyCurve(tuple(bent)), beside=beside)

    def with_output_vocabulary(self, saved: float, longer: float) -> LatencyTable:
        """The table of the same model with a smaller output vocabulary.

        The savings of couplings stay the same: they lie in other matrices. See `tprune.vocabulary.output_vocabulary`.

        Args:
            saved: milliseconds in every token, the last part.
            longer: how many times as many tokens the model writes.
        """
        *first, token = self.dense.parts.values()
        *others, last = self._pairs
        tokens, pairs = self.tokens * longer, tuple((additive - saved, real - saved) for additive, real in last)
        curve = LatencyCurve((*others, pairs) if self.curve.parts else ())
        beside = None if self.beside is None else self.beside.with_output_vocabulary(saved / token, longer)
        dense = self.phases.times([*first, token - saved], tokens)
        return replace(self, dense=dense, tokens=tokens, curve=curve, beside=beside)

    def saved_by(self, place: str, shares: KeptFractions, width: float = 1.0) -> Floats:
        """Milliseconds of each part that one sublayer with several kinds cut saves."""
        found: Floats = combined(lambda kind, share: self.saved(place, kind, share, width), shares) + self._nothing
        return found

    def times(self, ratios: Mapping[str, float]) -> Times:
        """Times of a model, from how many times faster than the dense one it is in each that is timed."""
        found = {name: self.dense.of(name) / ratios[name] for name in self.phases.timed}
        return self.phases.split(found, self.tokens)

    def _quoted(self, parts: Floats) -> float:
        return self.phases.total([float(part) for part in parts], self.tokens)

    def _knows(self, place: str, kind: str) -> bool:
        return any((p.place, p.kind) == (place, kind) for p in self.prices)

    def _price(self, place: str, kind: str) -> Floats:
        for price in self.prices:
            if (price.place, price.kind) == (place, kind):
                return np.array(price.ms)
        known = ", ".join(sorted({f"{p.place} {p.kind}" for p in self.prices})) or "none"
        raise InputError(f"the latency table has no {place} {kind}; measured are {known}")

    def to_dict(self) -> dict[str, object]:
        """Plain data, in which sublayers go by their names; without what lies beside it."""
        plans = tuple(_timed_to_dict(timed) for timed in self.plans)
        found = asdict(replace(self, plans=(), beside=None)) | {"plans": plans}
        del found["beside"]
        return found

    @staticmethod
    def load(path: Path) -> LatencyTable:
        """Reads a table back. Raises `InputError` naming the file, and one of an older format."""
        return LatencyTable.of(read_json(path), path)

    @staticmethod
    def of(data: object, path: Path) -> LatencyTable:
        """A table from plain data of this file. Raises `InputError` as `load`."""
        from tprune.costs.latency.files import table_from_json  # which makes tables

        return table_from_json(data, path)


def _timed_to_dict(timed: TimedPlan) -> dict[str, object]:
    shares = {site.name: dict(each) for site, each in timed.shares.items()}
    return {"shares": shares, "width": timed.width, "ratios": dict(timed.ratios)}


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
