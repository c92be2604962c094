"""Latency tables: places, interpolation, prediction, and a cache that knows what it is for."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from small_models import small_model
from test_compression import PAIRS, model_and_tokenizer
from tprune import latency
from tprune.data import Corpus
from tprune.errors import InputError, NoisyMachineError
from tprune.latency import LatencyTable, Point, Setting, Times, key_of, place_of, shares_of, variants
from tprune.models import couplings
from tprune.pipeline import Run, expected_seconds, run
from tprune.plan import make_plan
from tprune.progress import Progress
from tprune.realise.shrink import shrink
from tprune.recipe import check_recipe
from tprune.report.table import notes
from tprune.runtimes.onnx_folder import read_layout

TABLE = LatencyTable(
    "0" * 16, Setting(), Times(2.0, 0.5, 12.5), 20.0, 0.025,
    (
        Point("decoder.ffn", 0.0, 0.0, 0.1), Point("decoder.ffn", 0.5, 0.0, 0.06),
        Point("encoder.ffn", 0.0, 0.4, 0.0), Point("decoder.encoder_attn", 0.0, 0.1, 0.05),
    ),
    {},
)  # fmt: skip


def test_a_dense_model_takes_what_was_measured() -> None:
    assert TABLE.predict({}) == Times(2.0, 0.5, pytest.approx(12.5))
    assert TABLE.predict({"model.decoder.layers.0.ffn": 1.0}) == TABLE.predict({})


def test_savings_are_interpolated_and_added() -> None:
    assert TABLE.saved("decoder.ffn", 0.25) == (0.0, pytest.approx(0.08))
    assert TABLE.saved("decoder.ffn", 0.75) == (0.0, pytest.approx(0.03))
    names = [f"model.decoder.layers.{i}.ffn" for i in range(2)]
    found = TABLE.predict({names[0]: 0.5, names[1]: 0.0, "model.encoder.layers.0.ffn": 0.0})
    assert found.encoder == pytest.approx(1.6) and found.decoder_step == pytest.approx(0.34)
    assert found.sentence == pytest.approx(1.6 + 20 * (0.34 + 0.025))
    crossing = TABLE.predict({"model.decoder.layers.1.encoder_attn.heads": 0.0})
    assert (crossing.encoder, crossing.decoder_step) == (pytest.approx(1.9), pytest.approx(0.45))


def test_what_was_not_measured_is_said() -> None:
    with pytest.raises(InputError, match=r"no decoder\.self_attn; measured are decoder\.encoder_attn, decoder\.ffn"):
        TABLE.saved("decoder.self_attn", 0.5)
    with pytest.raises(InputError, match="width lies in no sublayer"):
        place_of("width")


def test_shares_of_a_plan_multiply_within_a_sublayer() -> None:
    model: Any = small_model("marian")
    name = "model.encoder.layers.0.self_attn"
    chosen = [c for c in couplings(model) if c.name in {f"{name}.heads", f"{name}.qk", "model.encoder.layers.0.ffn"}]
    plan = make_plan(model, "marian", chosen)
    masks = {
        f"{name}.heads": torch.tensor([True, True, False, False]),
        f"{name}.qk": torch.tensor([True, False, False, False]).repeat(4, 1),
        "model.encoder.layers.0.ffn": torch.arange(12) < 3,
    }
    shares = shares_of(plan.with_kept(masks, {}, {}))
    assert {place_of(k): v for k, v in shares.items()} == {
        "encoder.self_attn": 0.5 * (0.25 + 1) / 2,
        "encoder.ffn": 0.25,
    }
    with pytest.raises(InputError, match="lies in no sublayer"):
        shares_of(make_plan(model, "marian", couplings(model, ["width"])))


@pytest.mark.parametrize("family", ["marian", "bart"])
def test_every_sublayer_is_measured_at_every_share_and_can_be_built(family: str) -> None:
    model: Any = small_model(family)
    found = list(variants(model))
    places = {"encoder.self_attn", "encoder.ffn", "decoder.self_attn", "decoder.encoder_attn", "decoder.ffn"}
    assert {(place, len({s for p, s, *_ in found if p == place})) for place in places} == {
        (place, 2 if place.startswith("decoder.") and "attn" in place else 4) for place in places
    }  # of two heads one or both may go
    for _, share, plan, layers in found:
        assert all(abs(s - share) < 1e-9 for s in shares_of(plan).values()) and len(plan.entries) == layers
        assert sum(p.numel() for p in shrink(model, plan).parameters()) <= sum(p.numel() for p in model.parameters())


def test_a_table_reads_back_and_a_broken_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(TABLE.to_json()))
    assert LatencyTable.load(path) == TABLE
    path.write_text(json.dumps(TABLE.to_json() | {"dense": {}}))
    with pytest.raises(InputError, match=r"t\.json: no latency table"):
        LatencyTable.load(path)


def test_a_table_is_for_one_model_and_one_setting() -> None:
    model, setting = small_model("marian"), Setting()
    assert key_of(model, setting) == key_of(small_model("marian", seed=1), setting)
    assert (
        len({key_of(model, setting), key_of(model, replace(setting, threads=2)), key_of(small_model("bart"), setting)})
        == 3
    )


def by_multiplications(dense: Path, pruned: Path, sentences: Any, *_: Any) -> Any:
    """A machine whose times are the multiplications, for want of a quiet one."""
    one, other = (read_layout(folder).macs for folder in (dense, pruned))
    ratio = {"encoder": one / other, "decoder_step": one / other}
    return SimpleNamespace(
        latency_ms={"dense": {"encoder": 1.0, "decoder_step": 0.5, "sentence": 6.5}}, speedup=ratio,
        interval={name: (r, r) for name, r in ratio.items()},
        footprint={"dense": SimpleNamespace(tokens_per_sentence=10.0)},
    )  # fmt: skip


def restless(*_: Any) -> Any:
    return SimpleNamespace(interval={"encoder": (0.8, 1.2)})


@pytest.mark.slow
def test_measuring_fills_a_table_once_and_gives_up_on_a_noisy_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = model_and_tokenizer()
    monkeypatch.setattr(latency, "SHARES", (0.5,))
    monkeypatch.setattr(latency, "bench", by_multiplications)
    said: list[str] = []
    table = latency.measured(model, tokenizer, ["a cat sat"], Setting(), tmp_path / "cache", said.append)
    assert len(said) == len(table.points) == 5 and table.overhead == pytest.approx((6.5 - 1) / 10 - 0.5)
    assert all(p.share == 0.5 and p.encoder > 0 and p.decoder_step > 0 for p in table.points)
    assert (
        latency.measured(model, tokenizer, [], Setting(), tmp_path / "cache", said.append) == table and len(said) == 5
    )
    with pytest.raises(NoisyMachineError, match=r"varies by 20\.0% after 3 tries, more than 6%"):
        monkeypatch.setattr(latency, "bench", restless)
        latency._steady(tmp_path, tmp_path, [], Setting(), "decoder.ffn at 50%")


@pytest.mark.slow
def test_a_run_that_is_asked_for_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "SHARES", (0.5, 0.25))
    monkeypatch.setattr(latency, "bench", by_multiplications)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stage = {"steps": 2, "warmup": 1, "tokens": 64}
    recipe = check_recipe({
        "data": {}, "model": {"d_model": 16, "layers": [1, 1], "heads": 2, "ffn": 32, "vocabulary": 40, "positions": 32},
        "train": stage, "analyze": {"steps": 2, "tokens": 64}, "prune": {**stage, "speedup": 1.1}, "recover": stage,
        "bench": {"sentences": 2, "rounds": 4},
    })  # fmt: skip
    corpus = Corpus(PAIRS, PAIRS.head(8), {"test": PAIRS.head(8)})
    results = run(Run(tmp_path / "run", recipe, corpus, None, "test", Progress(expected_seconds(recipe, 1e4, True))))
    asked, predicted = (results["target"][key]["sentence_ms"] for key in ("asked", "reached"))
    assert (
        asked == pytest.approx(6.5 / 1.1) and 0.9 * asked < predicted <= asked and results["target"]["speedup"] == 1.1
    )
    assert results["pruned"]["macs"] < results["dense"]["macs"]
    assert f"asked for {asked:.3g} ms a sentence, predicted {predicted:.3g}, measured " in notes(results)[0]
    assert LatencyTable.load(tmp_path / "run" / "latency.json").points
