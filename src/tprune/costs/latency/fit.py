"""Prices of a latency table: what the times of its plans agree on.

At batch 1 a matrix costs about as much as it has weights, and every sublayer something whatever its sizes. With all times as shares of
the dense model's, a plan of width w takes

    fixed + w · other + Σ_sublayers that stay (operations + w · Σ_kinds price · share),

which is linear in prices that are the same for all layers of a place. There are not many more plans than prices, and each plan
varies by some per cent. So three numbers come first (fixed, for a weight, for a sublayer), and every price is drawn to what they say
of it. Prices are never negative.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tprune.core.coupling import Coupling, source_params
from tprune.core.kinds import COVERING, FINEST, WHOLE_BLOCK, WIDTH, rule_of
from tprune.core.sites import DECODER, ENCODER, Site, no_site
from tprune.core.sublayers import KeptFractions, emptied
from tprune.costs.latency.table import MODEL, Floats, LatencyCurve, LatencyTable, Pair, Price
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


def fitted(table: LatencyTable, model: Any) -> LatencyTable:
    """The table with prices and curve from the plans that it has.

    Args:
        table: of timed plans.
        model: the dense model that it is of.
    """
    if not table.plans:
        return table
    dense = np.array([table.dense.encoder, table.dense.token])
    (encoder, first), (token, second) = (_side(table, model, side, float(dense[side])) for side in range(2))
    seen = _seen(table, model)
    names = (name for name in dict.fromkeys([*encoder, *token]) if name in seen)
    prices = tuple(Price(*name, encoder.get(name, 0.0), token.get(name, 0.0)) for name in names)
    return dataclasses.replace(table, prices=prices, curve=LatencyCurve(first, second))


def weights_of(model: Any, kinds: Sequence[str]) -> Weights:
    """How many weights of the encoder's pass and of a decoder step are in each kind of coupling, by place, in one sublayer."""
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.dim() == 2}
    source = source_params(couplings(model))
    found: dict[tuple[str, str], Floats] = {}
    for coupling in couplings(model, kinds):
        if coupling.kind != WIDTH:
            found.setdefault((_site(coupling).place, coupling.kind), _weights(coupling, sizes, source))
    return found


def _site(coupling: Coupling) -> Site:
    if coupling.site is None:
        raise no_site(coupling.name)
    return coupling.site


def _weights(coupling: Coupling, sizes: Mapping[str, int], source: Collection[str]) -> Floats:
    """Weights used in the encoder's pass, where keys and values of the source are made too, and in a decoder step."""
    total = np.zeros(2)
    for name in {view.param for view in coupling.views} & set(sizes):
        total[0 if name in source else 1] += sizes[name]
    return total


Terms = dict[tuple[str, str], float]


def _side(table: LatencyTable, model: Any, side: int, dense: float) -> tuple[Terms, tuple[Pair, ...]]:
    """Prices by place and kind, and the curve, of the encoder or of a token, in milliseconds."""
    terms = _terms(model, side)
    mixtures = [*((t.shares, t.width) for t in table.plans), ({}, 1.0)]
    amounts = np.array([[1.0, *(_amount(term, *mixture) for term in terms)] for mixture in mixtures])
    timed = (table.times(t.medians) for t in table.plans)
    times = np.array([*((t.encoder, t.token)[side] for t in timed), dense]) / dense
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


def _terms(model: Any, side: int) -> list[Term]:
    """The prices of a side: what the width takes beside the sublayers, and each place's weights and operations."""
    sites = [_site(coupling) for coupling in couplings(model, COVERING)]
    layers = Counter(site.place for site in sites)
    timed = {site.place for site in sites if _takes(site, side)}
    weights = {key: float(each[side]) for key, each in weights_of(model, FINEST).items()}
    output = float(model.get_output_embeddings().weight.numel()) * side
    total = output + sum(layers[place] * each for (place, _), each in weights.items())
    kinds = [(place, kind) for (place, kind), each in weights.items() if each]
    return [
        Term(MODEL, WIDTH, 1, output / total),
        *(Term(place, kind, layers[place], layers[place] * weights[place, kind] / total) for place, kind in kinds),
        *(Term(place, WHOLE_BLOCK, count) for place, count in layers.items() if place in timed),
    ]


def _takes(site: Site, side: int) -> bool:
    """Whether operations of a block take time in the encoder's pass (0) or in a token (1)."""
    return site.reads_source or site.stack == (ENCODER, DECODER)[side]


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
    """`argmin_{x ≥ 0} Σ ((amounts · x − times) / (NOISE · times))² + Σ ((x − expected) / sure)²`, dropping what would be negative."""
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


def _seen(table: LatencyTable, model: Any) -> set[tuple[str, str]]:
    """The kinds that plans of the table cut, by place; of what can be removed also what goes with it."""
    found: set[tuple[str, str]] = {(MODEL, WIDTH)} if any(t.width < 1 for t in table.plans) else set()
    covering = {coupling.site: coupling.kind for coupling in couplings(model, COVERING)}
    for timed in table.plans:
        for site, shares in timed.shares.items():
            also = {covering[site]} if WHOLE_BLOCK in shares and site in covering else set()
            found |= {(site.place, kind) for kind in {*shares, *also}}
    return found
