"""Prices of a latency table: what the times of its plans agree on.

At batch 1 a matrix costs about as much as it has weights, and every sublayer something whatever its sizes. With all
times as shares of the dense model's, a plan of width w takes

    fixed + w · other + Σ_sublayers that stay (operations + w · Σ_kinds price · share),

which is linear in prices that are the same for all layers of a place; so is the time of each part, such as an encoder's
and a token's. There are not many more plans than prices, and each plan varies by some per cent. So three numbers come
first (fixed, for a weight, for a sublayer), and every price is drawn to what they say of it. Prices are never negative.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from tprune.core.coupling import Coupling, source_params
from tprune.core.kinds import COVERING, INNER, PARTS, WHOLE_BLOCK, WIDTH, rule_of
from tprune.core.model import Model
from tprune.core.sites import Site, no_site
from tprune.core.sublayers import KeptFractions, emptied
from tprune.core.task import Task
from tprune.costs.latency.phases import Floats, Part, Phases
from tprune.costs.latency.products import products_of
from tprune.costs.latency.table import MODEL, LatencyCurve, LatencyTable, Pair, Price
from tprune.families.registry import couplings

NOISE = 0.04  # of a plan's time
# what is fixed, all weights and all sublayers take of the dense time, and how far from that they may lie
COMMON, SURE = np.array([0.1, 0.7, 0.2]), np.array([0.1, 0.3, 0.2])
PRICE_VARIATION = 0.25  # by how much prices of equal amounts differ
OTHER = 0.1  # of the dense time: how far what the width takes beside the sublayers may lie from what its weights say
BENDS = 4  # pairs of the curve, beside the dense model's
Weights = Mapping[tuple[str, str], Floats]


@dataclasses.dataclass(frozen=True)
class Term:
    """One price: of a kind at a place in so many layers, and which share of the weights of its side it has."""

    place: str
    kind: str
    layers: int = 1
    weights: float = 0.0


def fitted(table: LatencyTable, model: Model, task: Task | None = None) -> LatencyTable:
    """The table with prices and curve from the plans that it has.

    Args:
        table: of timed plans.
        model: the dense model that it is of.
        task: what the model is for; its own if not given.
    """
    if not table.plans:
        return table
    sides = [_side(table, model, side, task) for side in range(len(table.phases.parts))]
    seen = _seen(table, model)
    names = (name for name in dict.fromkeys(name for found, _ in sides for name in found) if name in seen)
    prices = tuple(Price(*name, tuple(found.get(name, 0.0) for found, _ in sides)) for name in names)
    return dataclasses.replace(table, prices=prices, curve=LatencyCurve(tuple(pairs for _, pairs in sides)))


def weights_of(model: Model, kinds: Sequence[str], phases: Phases, task: Task | None = None) -> Weights:
    """How many weights each part uses of each kind of coupling, by place, in one sublayer.

    Those of kernels count as often as they are applied: see `products_of`.
    """
    products, every = products_of(model, task), couplings(model)
    source = source_params(every)
    found: dict[tuple[str, str], Floats] = {}
    for coupling in every:
        if coupling.kind in kinds and coupling.kind != WIDTH:
            found.setdefault((_site(coupling).place, coupling.kind), _weights(coupling, products, source, phases))
    return found


def _site(coupling: Coupling) -> Site:
    if coupling.site is None:
        raise no_site(coupling.name)
    return coupling.site


def _weights(coupling: Coupling, products: Mapping[str, int], source: Collection[str], phases: Phases) -> Floats:
    """Weights used in each part; keys and values of the source are made in the encoder's."""
    total = np.zeros(len(phases.parts))
    for name in {view.param for view in coupling.views} & set(products):
        total += [products[name] * part.uses(name in source) for part in phases.parts]
    return total


Terms = dict[tuple[str, str], float]


def _side(table: LatencyTable, model: Model, side: int, task: Task | None) -> tuple[Terms, tuple[Pair, ...]]:
    """Prices by place and kind, and the curve, of one part, in milliseconds."""
    terms, dense = _terms(model, table.phases, side, task), float(table.dense.array[side])
    mixtures = [*((t.shares, t.width) for t in table.plans), ({}, 1.0)]
    amounts = np.array([[1.0, *(_amount(term, *mixture) for term in terms)] for mixture in mixtures])
    times = np.array([*(table.times(t.medians).array[side] for t in table.plans), dense]) / dense
    found = _prices(terms, amounts, times)
    price: Terms = {}
    for term, share in zip(terms, found[1:], strict=True):
        price[term.place, term.kind] = float(share) * dense / term.layers
    for term in terms:  # heads are their dimensions
        if outer := rule_of(term.kind).within:
            price[term.place, outer] = price.get((term.place, outer), 0.0) + price[term.place, term.kind]
    in_width = [i for i, term in enumerate(terms, 1) if term.kind != WHOLE_BLOCK]
    price[MODEL, WIDTH] = float(found[in_width].sum()) * dense
    return price, _curve(amounts @ found * dense, times * dense)


def _terms(model: Model, phases: Phases, side: int, task: Task | None) -> list[Term]:
    """The prices of a part: what the width takes beside the sublayers, and each place's weights and operations."""
    part = phases.parts[side]
    sites = [_site(coupling) for coupling in couplings(model) if coupling.kind in COVERING]
    layers = Counter(site.place for site in sites)
    timed = {site.place for site in sites if part.runs(site)}
    weights = _apart({key: float(each[side]) for key, each in weights_of(model, PARTS, phases, task).items()})
    inside = sum(layers[place] * each for (place, _), each in weights.items())
    beside = _beside(model, part, inside, task)
    total = beside + inside
    return [
        Term(MODEL, WIDTH, 1, beside / total),
        *(
            Term(place, kind, layers[place], layers[place] * each / total)
            for (place, kind), each in weights.items()
            if each
        ),
        *(Term(place, WHOLE_BLOCK, count) for place, count in layers.items() if place in timed),
    ]


def _apart(weights: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """The same with no weight in two kinds: of a kind that holds others, what is in none of those."""
    inner = {key: sum(weights.get((key[0], kind), 0.0) for kind in INNER.get(key[1], ())) for key in weights}
    return {key: max(0.0, each - inner[key]) for key, each in weights.items()}


def _beside(model: Model, part: Part, inside: float, task: Task | None) -> float:
    """Weights beside the sublayers: those of an output layer; in a model with convolutions all others."""
    output = getattr(model, "get_output_embeddings", lambda: None)()
    if output is not None:
        return float(output.weight.numel()) * part.uses(False)
    products = products_of(model, task)
    return sum(products.values()) - inside if any(p.dim() > 2 for p in model.parameters()) else 0.0


def _amount(term: Term, shares: Mapping[Site, KeptFractions], width: float) -> float:
    """Which share of what a price is for a plan keeps."""
    if term.place == MODEL:
        return width
    mine = [kept for site, kept in shares.items() if site.place == term.place]
    here = [kept for kept in mine if not emptied(kept)]
    left = float(term.layers - len(mine))  # what a plan does not name is whole
    if term.kind == WHOLE_BLOCK:
        return (left + len(here)) / term.layers
    outer = rule_of(term.kind).within or ""
    each = (kept.get(term.kind, 1.0) * kept.get(outer, 1.0) for kept in here)
    return width * (left + sum(each)) / term.layers


def _prices(terms: Sequence[Term], amounts: Floats, times: Floats) -> Floats:
    """What is fixed and every term take, as shares of the dense time."""
    sublayers = np.array([0.0, *(float(term.layers) if term.kind == WHOLE_BLOCK else 0.0 for term in terms)])
    equal = np.array([0.0, *(term.weights for term in terms)]), sublayers / max(1.0, sublayers.sum())
    common = np.stack([amounts[:, 0], amounts @ equal[0], amounts @ equal[1]], 1)
    fixed, weight, sublayer = _least_squares(common, times, COMMON, SURE)
    expected = weight * equal[0] + sublayer * equal[1]
    sure = PRICE_VARIATION * expected
    expected[0], sure[0], sure[1] = fixed, SURE[0], OTHER
    return _least_squares(amounts, times, expected, np.maximum(sure, 1e-6))


def _least_squares(amounts: Floats, times: Floats, expected: Floats, sure: Floats) -> Floats:
    """Least squares around expected values, dropping what would be negative.

    `argmin_{x ≥ 0} Σ ((amounts · x − times) / (NOISE · times))² + Σ ((x − expected) / sure)²`
    """
    rows = np.vstack([amounts / (NOISE * times)[:, None], np.diag(1 / sure)])
    sides = np.concatenate([np.full(len(times), 1 / NOISE), expected / sure])
    used = np.full(amounts.shape[1], True)
    found = np.zeros(amounts.shape[1])
    while used.any():
        found[:] = 0.0
        found[used] = np.linalg.lstsq(rows[:, used], sides, rcond=None)[0]
        if (found >= 0).all():
            break
        used &= found >= 0
    return found


def _curve(additive: Floats, measured: Floats) -> tuple[Pair, ...]:
    """Points (sum of prices, measured time); the last row is the dense model's.

    The time at a point is a mean over plans, weighted by distance, with one more plan whose prices add up exactly.
    """
    whole, dense = float(additive[-1]), float(measured[-1])
    low, high = float(additive[:-1].min()), float(additive[:-1].max())
    log, near = np.log(measured[:-1] / np.maximum(additive[:-1], 1e-9)), max((high - low) / BENDS, 1e-9)
    pairs: list[Pair] = []
    for x in np.unique(np.linspace(low, high, BENDS)):
        weight = np.exp(-(((additive[:-1] - x) / near) ** 2))
        y = float(x * np.exp(weight @ log / (weight.sum() + 1.0)))
        if x < 0.95 * whole:
            pairs.append((float(x), min(max([y, *(before for _, before in pairs)]), dense)))
    return (*pairs, (whole, dense))


def _seen(table: LatencyTable, model: Model) -> set[tuple[str, str]]:
    """The kinds that plans of the table cut, by place; of what can be removed also what goes with it."""
    found: set[tuple[str, str]] = {(MODEL, WIDTH)} if any(t.width < 1 for t in table.plans) else set()
    covering = {coupling.site: coupling.kind for coupling in couplings(model) if coupling.kind in COVERING}
    for timed in table.plans:
        for site, shares in timed.shares.items():
            also = {covering[site]} if WHOLE_BLOCK in shares and site in covering else set()
            found |= {(site.place, kind) for kind in {*shares, *also}}
    return found
