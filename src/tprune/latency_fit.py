"""Less noise in a latency table: what cannot be saved is zero, and every point leans on what all of them say a weight costs.

A point is a few microseconds out of a sentence of milliseconds, so it is known badly, and a plan adds up dozens of them. At batch 1 a
matrix costs about as much as it has weights. So the time saved per weight, r, is estimated from all points together, and each point
is drawn to it, the less its own weights say: with noise σ, and r allowed to differ by `SPREAD` between matrices,

    s ← w · (k · s/w + (1 − k) · r),  k = (SPREAD · r · w)² / ((SPREAD · r · w)² + σ²).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tprune.coupling import Coupling
from tprune.latency import MODEL, Floats, LatencyTable, Point
from tprune.models import couplings
from tprune.sublayers import READS_SOURCE, place_of

SPREAD = 0.25
SIDES = ("encoder", "token")
Weights = Mapping[tuple[str, str], Floats]


def smoothed(table: LatencyTable, model: Any) -> LatencyTable:
    """The table with points that agree with each other better; anchors are added up anew.

    Args:
        table: as measured.
        model: the dense model that it is of.
    """
    weights = weights_of(model, sorted({p.kind for p in table.points} - {"sublayer"}))
    cut = [p for p in table.points if (p.place, p.kind) in weights]
    if not cut:
        return table
    amounts = np.array([(1 - p.share) * weights[p.place, p.kind] for p in cut])
    measured = np.array([(p.encoder, p.token) for p in cut])
    found = np.stack([_drawn(measured[:, i], amounts[:, i]) for i in range(len(SIDES))], 1)
    points = {
        (p.place, p.kind, p.share): dataclasses.replace(p, encoder=float(e), token=float(t))
        for p, (e, t) in zip(cut, found, strict=True)
    }
    rest = (_at_least(p, points.values()) for p in table.points if p not in cut)
    better = dataclasses.replace(table, points=(*points.values(), *rest))
    return dataclasses.replace(better, anchors=tuple(a.added_up(better) for a in better.anchors))


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


def _drawn(saved: Floats, weights: Floats) -> Floats:
    """Savings of one side, drawn towards a common price for a weight; zero where no weight is cut."""
    some = weights > 0
    s, w = saved[some], weights[some]
    out = np.zeros_like(saved)
    if not some.any():
        return out
    price = max(0.0, float(s @ w) / float(w @ w))
    noise = float(np.square(s - price * w).sum()) / max(1, len(s) - 1)
    own = np.square(SPREAD * price * w)
    k = own / np.maximum(own + noise, 1e-300)
    out[some] = np.maximum(0.0, k * s + (1 - k) * price * w)
    return out


def _at_least(point: Point, points: Any) -> Point:
    """A removal, saving nothing on the side where it has no weights, and no less than the largest cut of the same place."""
    if point.place == MODEL:
        return point
    reads, encoder = point.place == READS_SOURCE, point.place.startswith("encoder")
    cuts = [p for p in points if p.place == point.place]
    return dataclasses.replace(
        point,
        encoder=max([point.encoder, *(p.encoder for p in cuts)]) if reads or encoder else 0.0,
        token=0.0 if encoder else max([point.token, *(p.token for p in cuts)]),
    )
