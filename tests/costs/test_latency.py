"""Latency tables: prices, how they add up, prediction, and files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sentence_times import sentence_times
from small_models import small_model
from tprune.core.plan import Plan, make_plan
from tprune.core.sites import Site
from tprune.costs.latency.table import LatencyCurve, LatencyTable, Price, TimedPlan, TimingConfig, kept_fractions
from tprune.families.registry import couplings
from tprune.support.errors import InputError

ENCODER_FFN, DECODER_FFN = Site("encoder", 0, "feed_forward"), Site("decoder", 0, "feed_forward")
TABLE = LatencyTable(
    "0" * 16,
    TimingConfig(),
    sentence_times(2.0, 0.5, 12.0),
    20.0,
    (TimedPlan({DECODER_FFN: {"ffn": 0.5}}, 1.0, {"encoder": (1.0, 1.0, 1.3), "sentence": (1.25, 1.2, 1.3)}),),
    {},
    50_000_000,
    (
        Price("decoder.ffn", "ffn", (0.0, 0.08)),
        Price("decoder.ffn", "sublayer", (0.0, 0.02)),
        Price("encoder.ffn", "ffn", (0.8, 0.0)),
        Price("encoder.self_attn", "heads", (0.4, 0.0)),
        Price("encoder.self_attn", "qk", (0.16, 0.0)),
        Price("encoder.self_attn", "vo", (0.24, 0.0)),
        Price("decoder.encoder_attn", "heads", (0.06, 0.03)),
        Price("decoder.encoder_attn", "sublayer", (0.04, 0.02)),
        Price("model", "width", (2.0, 0.4)),
    ),
)
BENT = replace(TABLE, curve=LatencyCurve((((1.6, 1.7), (2.2, 2.0)), ((0.46, 0.44), (0.5, 0.5)))))
HALF = {ENCODER_FFN: {"ffn": 0.5}, DECODER_FFN: {"ffn": 0.5}}


def saved(place: str, kind: str, share: float, width: float = 1.0) -> tuple[float, float]:
    encoder, step = TABLE.saved(place, kind, share, width)
    return pytest.approx(encoder), pytest.approx(step)


@pytest.mark.parametrize("table", [TABLE, BENT])
def test_a_dense_model_takes_what_was_measured(table: LatencyTable) -> None:
    assert table.predict({}) == sentence_times(2.0, 0.5, pytest.approx(12.0))
    assert table.predict({DECODER_FFN: {"ffn": 1.0}}, 1.0) == table.predict({})


def test_savings_are_in_proportion_to_what_is_cut_but_removal_is_a_jump() -> None:
    assert saved("decoder.ffn", "ffn", 0.75) == (0.0, 0.02)
    assert saved("decoder.ffn", "ffn", 1e-9) == (0.0, pytest.approx(0.08, abs=1e-6))
    assert saved("decoder.ffn", "ffn", 0.0) == saved("decoder.ffn", "sublayer", 0.0) == (0.0, 0.1)
    assert saved("encoder.ffn", "ffn", 0.0) == (0.8, 0.0)  # no removal was measured: at least this
    assert saved("decoder.ffn", "sublayer", 1.0) == (0.0, 0.0)


def test_at_a_smaller_width_weights_are_fewer_but_operations_are_not() -> None:
    assert saved("decoder.ffn", "ffn", 0.5, 0.5) == (0.0, 0.02)
    assert saved("decoder.ffn", "ffn", 0.0, 0.5) == (0.0, 0.02 + 0.08 / 2)
    found = TABLE.predict({**HALF, Site("decoder", 1, "cross_attention"): {"heads": 0.0}}, 0.5)
    assert found.of("encoder") == pytest.approx(2.0 - 1.0 - 0.4 * 0.5 - (0.04 + 0.06 * 0.5))
    assert found.of("token") == pytest.approx(0.5 - 0.2 - 0.04 * 0.5 - (0.02 + 0.03 * 0.5))


def test_savings_of_sublayers_add_and_those_of_kinds_combine() -> None:
    sites = [Site("decoder", i, "feed_forward") for i in range(2)]
    found = TABLE.predict({sites[0]: {"ffn": 0.5}, sites[1]: {"ffn": 1.0, "sublayer": 0.0}})
    assert found.of("encoder") == 2.0 and found.of("token") == pytest.approx(0.36)
    assert found.total == pytest.approx(2.0 + 20 * 0.36)
    attention = TABLE.predict({Site("encoder", 0, "self_attention"): {"heads": 0.5, "qk": 0.5, "vo": 0.75}})
    assert attention.of("encoder") == pytest.approx(2.0 - 0.2 - 0.5 * (0.08 + 0.06))
    crossing = TABLE.predict({Site("decoder", 1, "cross_attention"): {"heads": 0.0}})
    assert (crossing.of("encoder"), crossing.of("token")) == (pytest.approx(1.9), pytest.approx(0.45))


def test_prices_need_not_add_up() -> None:
    """Encoder: prices add up to 2.2 for the dense model, which takes 2.0; what they say takes 1.6 takes 1.7.

    Token: 0.46, 0.44.
    """
    assert BENT.additive_dense_ms == pytest.approx([2.2, 0.5])
    assert BENT.predicted_ms(np.array([1.9, 0.48])) == pytest.approx([1.85, 0.47])  # between
    assert BENT.predicted_ms(np.array([1.0, 0.42])) == pytest.approx([1.4, 0.38])  # on along the line
    assert BENT.predicted_ms(np.array([-9.0, -9.0])) == pytest.approx([0.04, 0.01])  # nothing is that fast
    assert BENT.predict(HALF).of("encoder") == pytest.approx(1.7 + 0.2 * 0.5) and BENT.predict(HALF).of(
        "token"
    ) == pytest.approx(0.44)
    assert BENT.savings_realised(np.array([1.6, 0.46])) == pytest.approx([0.5, 1.5])


def test_how_prices_add_up_is_looked_up_at_the_time_asked_for() -> None:
    table = replace(TABLE, curve=LatencyCurve((((1.0, 1.2), (2.0, 2.0)), ((0.25, 0.3), (0.5, 0.5)))))
    assert table.savings_realised_at(1.2 + 20 * 0.3) == pytest.approx([0.8, 0.8], rel=1e-3)
    assert TABLE.savings_realised_at(6.0) == pytest.approx([1.0, 1.0])


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Half of the units of one block of the encoder, and of one of the decoder."""
    model: Any = small_model("marian")
    found = make_plan(model, "marian", [c for c in couplings(model, ("ffn",)) if c.site in HALF])
    return found.with_kept(
        {e.coupling.name: torch.arange(e.groups[0]) < e.groups[0] // 2 for e in found.entries}, {}, {}
    )


@pytest.mark.parametrize("table", [TABLE, BENT])
@given(encoder=st.floats(0.5, 2.0), token=st.floats(0.5, 2.0), other=st.floats(0.0, 1.0))
def test_a_corrected_table_knows_the_plan_and_the_dense_model(
    table: LatencyTable, plan: Plan, encoder: float, token: float, other: float
) -> None:
    before = table.predict_plan(plan)
    found = table.corrected_by(plan, sentence_times(before.of("encoder") * encoder, before.of("token") * token, 0.0))
    again = found.predict_plan(plan)
    assert (again.of("encoder"), again.of("token")) == (
        pytest.approx(before.of("encoder") * encoder),
        pytest.approx(before.of("token") * token),
    )
    assert found.predict({}) == table.predict({})
    less = {site: {"ffn": 1 - other / 2} for site in HALF}  # models that save less are corrected less
    factor = found.predict(less).of("encoder") / table.predict(less).of("encoder")
    assert min(1.0, encoder) - 1e-9 <= factor <= max(1.0, encoder) + 1e-9


def test_what_was_not_measured_is_said() -> None:
    with pytest.raises(InputError, match=r"no decoder\.self_attn heads; measured are decoder\.encoder_attn heads, "):
        TABLE.saved("decoder.self_attn", "heads", 0.5)
    with pytest.raises(InputError, match=r"no encoder\.ffn sublayer"):
        TABLE.saved("encoder.ffn", "sublayer", 0.0)
    with pytest.raises(InputError, match="no model width; measured are none"):
        replace(TABLE, prices=()).at_width(0.5)


def test_only_runtimes_that_exist_are_timed() -> None:
    with pytest.raises(InputError, match=r"runtime 'tflite'; expected one of .*onnxruntime"):
        TimingConfig(runtime="tflite")


def test_shares_of_a_plan_are_by_sublayer_and_kind() -> None:
    model: Any = small_model("marian")
    name = "model.encoder.layers.0.self_attn"
    chosen = [c for c in couplings(model) if c.name in {f"{name}.heads", f"{name}.qk", "model.encoder.layers.0.ffn"}]
    plan = make_plan(model, "marian", chosen)
    masks = {
        f"{name}.heads": torch.tensor([True, True, False, False]),
        f"{name}.qk": torch.tensor([True, False, False, False]).repeat(4, 1),
        "model.encoder.layers.0.ffn": torch.arange(12) < 3,
    }
    shares = kept_fractions(plan.with_kept(masks, {}, {}))
    assert shares == {Site("encoder", 0, "self_attention"): {"heads": 0.5, "qk": 0.25}, ENCODER_FFN: {"ffn": 0.25}}
    with pytest.raises(InputError, match="cannot share a budget"):
        kept_fractions(make_plan(model, "marian", couplings(model, ["lines"])))


def test_a_table_reads_back_and_a_broken_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    for table in (TABLE, BENT):
        path.write_text(json.dumps(table.to_dict()))
        assert LatencyTable.load(path) == table
    path.write_text(json.dumps(TABLE.to_dict() | {"dense": {}}))
    with pytest.raises(InputError, match=r"t\.json: no latency table"):
        LatencyTable.load(path)
    for ratios, says in (
        ({"encoder": [1.0], "sentence": []}, "1 and 0 rounds"),
        ({"encoder": [0.0], "sentence": [1.0]}, "0.0 times as fast"),
        ({"encoder": [1.0] * 1001, "sentence": [1.0] * 1001}, "1001 and 1001 rounds"),
    ):
        plan = {"shares": {}, "width": 1.0, "ratios": ratios}
        path.write_text(json.dumps(TABLE.to_dict() | {"plans": [plan]}))
        with pytest.raises(InputError, match=says):
            LatencyTable.load(path)
    plan = {
        "shares": {"model.encoder.layers.0.ffn": {"ffn": -70}},
        "width": 1.0,
        "ratios": {"encoder": [1.0], "sentence": [1.0]},
    }
    path.write_text(json.dumps(TABLE.to_dict() | {"plans": [plan]}))
    with pytest.raises(InputError, match="a share of -70"):
        LatencyTable.load(path)
    for name in ("units", "width"):
        path.write_text(json.dumps(TABLE.to_dict() | {"plans": [plan | {"shares": {name: {"ffn": 0.5}}}]}))
        with pytest.raises(InputError, match=f"shares of '{name}', which is no sublayer"):
            LatencyTable.load(path)
    path.write_text(json.dumps(TABLE.to_dict() | {"tokens": 0}))
    with pytest.raises(InputError, match="of a sentence of 0 tokens"):
        LatencyTable.load(path)
    old = {key: value for key, value in TABLE.to_dict().items() if key != "format"}
    path.write_text(json.dumps(old))
    with pytest.raises(InputError, match=r"format 1, expected 6\); delete it to measure again"):
        LatencyTable.load(path)


def test_a_spelling_saves_in_every_token_and_needs_more_of_them() -> None:
    for table in (TABLE, BENT):
        spelled = table.with_output_vocabulary(0.1, 1.2)
        assert spelled.dense == sentence_times(2.0, pytest.approx(0.4), pytest.approx(2.0 + 24 * 0.4))
        before, after = table.predict(HALF), spelled.predict(HALF)
        assert (after.of("encoder"), after.of("token")) == (
            before.of("encoder"),
            pytest.approx(before.of("token") - 0.1),
        )
        assert after.total == pytest.approx(before.of("encoder") + 24 * (before.of("token") - 0.1))
