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
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tprune.core.coupling import Coupling
from tprune.core.sublayers import READS_SOURCE, Shares, place_of
from tprune.costs.latency.table import MODEL, Curve, Floats, LatencyTable, Pair, Price
from tprune.families.registry import couplings

NOISE = 0.04  # of a plan's time
# what is fixed, all weights and all sublayers take of the dense time, and how far from that they may lie
COMMON, SURE = np.array([0.1, 0.7, 0.2]), np.array([0.1, 0.3, 0.2])
SPREAD = 0.25  # by how much prices of equal amounts differ
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
    seen = _seen(table)
    names = (name for name in dict.fromkeys([*encoder, *token]) if name in seen)
    prices = tuple(Price(*name, encoder.get(name, 0.0), token.get(name, 0.0)) for name in names)
    return dataclasses.replace(table, prices=prices, curve=Curve(first, second))


def weights_of(model: Any, kinds: Sequence[str]) -> Weights:
    """How many weights of the encoder's pass and of a decoder step are in each kind of coupling, by place, in one sublayer."""
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.dim() == 2}
    found: dict[tuple[str, str], Floats] = {}
    for coupling in couplings(model, kinds):
        if coupling.kind != "width":
            found.setdefault((place_of(coupling.name), coupling.kind), _weights(coupling, sizes))
    return found


def _weights(coupling: Coupling, sizes: Mapping[str, int]) -> Floats:
    total = np.zeros(2)
    for name in {view.param for view in coupling.views} & set(sizes):
        # keys and values of the source are made once, in the encoder's pass
        once = name.startswith("model.encoder.") or ("encoder_attn" in name and ("k_proj" in name or "v_proj" in name))
        total[0 if once else 1] += sizes[name]
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
        if term.kind in ("qk", "vo"):
            price[term.place, "heads"] = price.get((term.place, "heads"), 0.0) + price[term.place, term.kind]
    in_width = [i for i, term in enumerate(terms, 1) if term.kind != "sublayer"]
    price[MODEL, "width"] = float(found[in_width].sum()) * dense
    return price, _curve(amounts @ found * dense, times * dense)


def _terms(model: Any, side: int) -> list[Term]:
    """The prices of a side: what the width takes beside the sublayers, and each place's weights and operations."""
    names = [coupling.name for coupling in couplings(model, ("ffn", "heads"))]
    layers = {place: sum(place_of(name) == place for name in names) for place in dict.fromkeys(map(place_of, names))}
    weights = {key: float(each[side]) for key, each in weights_of(model, ("ffn", "qk", "vo")).items()}
    output = float(model.get_output_embeddings().weight.numel()) * side
    total = output + sum(layers[place] * each for (place, _), each in weights.items())
    kinds = [(place, kind) for (place, kind), each in weights.items() if each]
    return [
        Term(MODEL, "width", 1, output / total),
        *(Term(place, kind, layers[place], layers[place] * weights[place, kind] / total) for place, kind in kinds),
        *(Term(place, "sublayer", count) for place, count in layers.items() if _takes(place, side)),
    ]


def _takes(place: str, side: int) -> bool:
    """Whether operations of a place take time in the encoder's pass (0) or in a token (1)."""
    return place == READS_SOURCE or place.startswith(("encoder", "decoder")[side])


def _amount(term: Term, shares: Mapping[str, Shares], width: float) -> float:
    """Which share of what a price is for a plan keeps."""
    if term.place == MODEL:
        return width
    mine = [kept for name, kept in shares.items() if place_of(name) == term.place]
    here = [kept for kept in mine if 0 not in (kept.get("sublayer"), kept.get("heads"), kept.get("ffn"))]
    left = float(term.layers - len(mine))  # what a plan does not name is whole
    if term.kind == "sublayer":
        return (left + len(here)) / term.layers
    each = (kept.get(term.kind, 1.0) * (1.0 if term.kind == "ffn" else kept.get("heads", 1.0)) for kept in here)
    return width * (left + sum(each)) / term.layers


def _prices(terms: Sequence[Term], amounts: Floats, times: Floats) -> Floats:
    """What is fixed and every term take, as shares of the dense time."""
    sublayers = np.array([0.0, *(float(term.layers) if term.kind == "sublayer" else 0.0 for term in terms)])
    alike = np.array([0.0, *(term.weights for term in terms)]), sublayers / max(1.0, sublayers.sum())
    common = np.stack([amounts[:, 0], amounts @ alike[0], amounts @ alike[1]], 1)
    fixed, weight, sublayer = _least_squares(common, times, COMMON, SURE)
    expected = weight * alike[0] + sublayer * alike[1]
    sure = SPREAD * expected
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


def _curve(added: Floats, measured: Floats) -> tuple[Pair, ...]:
    """Pairs that say how long a model takes whose prices add up to so much; the last row is the dense model's.

    Plans near by say it, the more the nearer, against one of them that says that prices do add up.
    """
    whole, dense = float(added[-1]), float(measured[-1])
    low, high = float(added[:-1].min()), float(added[:-1].max())
    log, near = np.log(measured[:-1] / np.maximum(added[:-1], 1e-9)), max((high - low) / BENDS, 1e-9)
    pairs: list[Pair] = []
    for x in np.unique(np.linspace(low, high, BENDS)):
        weight = np.exp(-(((added[:-1] - x) / near) ** 2))
        y = float(x * np.exp(weight @ log / (weight.sum() + 1.0)))
        if x < 0.95 * whole:
            pairs.append((float(x), min(max([y, *(before for _, before in pairs)]), dense)))
    return (*pairs, (whole, dense))


def _seen(table: LatencyTable) -> set[tuple[str, str]]:
    """The kinds that plans of the table cut, by place; of what can be removed also what goes with it."""
    found = {(MODEL, "width")} if any(t.width < 1 for t in table.plans) else set()
    for timed in table.plans:
        for name, shares in timed.shares.items():
            place = place_of(name)
            also = {"ffn" if place.endswith("ffn") else "heads"} if "sublayer" in shares else set()
            found |= {(place, kind) for kind in {*shares, *also}}
    return found
