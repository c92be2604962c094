"""Smoothed latency tables: prices that agree stay, what cannot be is zero, noise becomes less."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from small_models import small_model
from tprune.files import write_json
from tprune.latency import LatencyTable, Point, Setting, Times
from tprune.latency_fit import Weights, smoothed, weights_of
from tprune.latency_points import whole_plans

KINDS = ("ffn", "heads", "qk", "vo")
PRICE = np.array([2e-4, 3e-4])  # ms of the encoder's pass and of a token, for a weight


@pytest.fixture(scope="module")
def model() -> Any:
    return small_model("marian")


@pytest.fixture(scope="module")
def weights(model: Any) -> Weights:
    return weights_of(model, KINDS)


def table_of(weights: Weights, noise: float = 0.0, seed: int = 0) -> LatencyTable:
    random = np.random.default_rng(seed)
    points = []
    for (place, kind), amount in weights.items():
        for share in (0.25, 0.5):
            e, t = (1 - share) * amount * PRICE + random.normal(0, noise, 2)
            points.append(Point(place, kind, share, float(e), float(t)))
    places = sorted({place for place, _ in weights})
    gone = [Point(place, "sublayer", 0.0, 1e-6, 1e-6) for place in places]
    return LatencyTable("key", Setting(), Times(9.0, 8.0, 49.0), 5.0, (*points, *gone), {})


def test_a_weight_is_where_it_is_used(model: Any, weights: Weights) -> None:
    d, config = model.config.d_model, model.config
    assert weights["encoder.ffn", "ffn"].tolist() == [2 * d * config.encoder_ffn_dim, 0]
    assert weights["decoder.ffn", "ffn"].tolist() == [0, 2 * d * config.decoder_ffn_dim]
    assert weights["decoder.self_attn", "heads"].tolist() == [0, 4 * d * d]
    assert weights["decoder.encoder_attn", "heads"].tolist() == [2 * d * d, 2 * d * d]  # keys and values: once
    assert weights["decoder.encoder_attn", "vo"].tolist() == [d * d, d * d]


def test_points_that_agree_stay_and_removal_saves_no_less(model: Any, weights: Weights) -> None:
    table = table_of(weights)
    found = smoothed(table, model)
    kept = {(p.place, p.kind, p.share): (p.encoder, p.token) for p in found.points}
    assert len(kept) == len(table.points)
    for p in table.points:
        e, t = kept[p.place, p.kind, p.share]
        if p.kind != "sublayer":
            assert (e, t) == (pytest.approx(p.encoder), pytest.approx(p.token))
        else:
            largest = [v for k, v in kept.items() if k[0] == p.place and k[1] != "sublayer"]
            assert e >= max(v[0] for v in largest) * (1 - 1e-9) and t >= max(v[1] for v in largest) * (1 - 1e-9)
            assert e == 0 or not p.place.startswith("decoder.f")
    assert smoothed(dataclasses.replace(table, points=()), model).points == ()


@pytest.mark.parametrize("seed", range(6))
def test_noise_becomes_less(model: Any, weights: Weights, seed: int) -> None:
    true = {(p.place, p.kind, p.share): np.array([p.encoder, p.token]) for p in table_of(weights).points}
    noise = 0.3 * max(float(v[0]) for v in true.values())
    raw = table_of(weights, noise, seed)

    def error(table: LatencyTable) -> float:
        cut = [p for p in table.points if p.kind != "sublayer"]
        return float(sum(np.square(true[p.place, p.kind, p.share] - (p.encoder, p.token)).sum() for p in cut))

    better = smoothed(raw, model)
    assert error(better) < 0.5 * error(raw)
    assert all(p.encoder >= 0 and p.token >= 0 for p in better.points)
    assert all(p.token == 0 for p in better.points if p.place.startswith("encoder."))


def test_anchors_are_added_up_anew_and_survive_a_file(model: Any, weights: Weights, tmp_path: Path) -> None:
    raw = table_of(weights, noise=1e-3)
    plan = next(whole_plans(model, KINDS))
    raw = raw.with_anchor(plan, Times(6.0, 5.0, 31.0))
    found = smoothed(raw, model)
    assert found.anchors[0].added != raw.anchors[0].added and found.predict_plan(plan) == Times(6.0, 5.0, 31.0)
    write_json(tmp_path / "t.json", found.to_json())
    again = LatencyTable.load(tmp_path / "t.json")
    assert again.predict_plan(plan) == found.predict_plan(plan)
    assert smoothed(again, model).anchors[0].added == pytest.approx(again.anchors[0].added)
