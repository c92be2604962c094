"""Latency tables: places, interpolation, prediction, and a cache that knows what it is for."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from small_models import small_model
from test_compression import PAIRS, model_and_tokenizer
from tprune import latency_points
from tprune.checkpoint import load
from tprune.data import Corpus, Parallel
from tprune.errors import InputError, NoisyMachineError
from tprune.files import read_json, write_json
from tprune.latency import Anchor, LatencyTable, Point, Setting, Times, shares_of
from tprune.latency_points import Timer, key_of, measured, variants, whole_plans
from tprune.models import couplings
from tprune.pipeline import expected_seconds, run
from tprune.plan import make_plan
from tprune.progress import Progress
from tprune.realise.shrink import shrink
from tprune.recipe_file import check_recipe
from tprune.report.table import notes
from tprune.run_folder import Run
from tprune.runtimes.export import _spared, export, generation_of, rows_of
from tprune.runtimes.folder import read_layout
from tprune.size import size
from tprune.vocabulary import write_only_

TABLE = LatencyTable(
    "0" * 16, Setting(), Times(2.0, 0.5, 12.0), 20.0,
    (
        Point("decoder.ffn", "sublayer", 0.0, 0.0, 0.1), Point("decoder.ffn", "ffn", 0.5, 0.0, 0.04),
        Point("decoder.ffn", "ffn", 0.25, 0.0, 0.065), Point("encoder.ffn", "ffn", 0.5, 0.4, 0.0),
        Point("encoder.self_attn", "heads", 0.5, 0.2, 0.0), Point("encoder.self_attn", "qk", 0.5, 0.08, 0.0),
        Point("encoder.self_attn", "vo", 0.5, 0.12, 0.0), Point("decoder.encoder_attn", "sublayer", 0.0, 0.1, 0.05),
        Point("model", "width", 0.5, 1.0, 0.2),
    ),
    {}, 50_000_000,
)  # fmt: skip


def saved(place: str, kind: str, share: float) -> tuple[float, float]:
    encoder, step = TABLE.saved(place, kind, share)
    return pytest.approx(encoder), pytest.approx(step)


def test_a_dense_model_takes_what_was_measured() -> None:
    assert TABLE.predict({}) == Times(2.0, 0.5, pytest.approx(12.0))
    assert TABLE.predict({"model.decoder.layers.0.ffn": {"ffn": 1.0}}, 1.0) == TABLE.predict({})


def test_savings_lie_on_lines_but_removal_is_a_jump() -> None:
    assert saved("decoder.ffn", "ffn", 0.75) == (0.0, 0.02)
    assert saved("decoder.ffn", "ffn", 0.375) == (0.0, 0.0525)
    assert saved("decoder.ffn", "ffn", 0.125) == (0.0, 0.0775)  # on along the line, not towards what removal saves
    assert saved("decoder.ffn", "ffn", 1e-9) == (0.0, pytest.approx(0.09, abs=1e-6))
    assert saved("decoder.ffn", "ffn", 0.0) == saved("decoder.ffn", "sublayer", 0.0) == (0.0, 0.1)
    assert saved("encoder.ffn", "ffn", 0.0) == (0.8, 0.0)  # no removal was measured: at least this
    assert saved("decoder.ffn", "sublayer", 1.0) == (0.0, 0.0)


def test_no_line_saves_more_than_removal() -> None:
    steep = replace(TABLE, points=(Point("decoder.ffn", "sublayer", 0.0, 0.0, 0.07), *TABLE.points[1:]))
    assert steep.saved("decoder.ffn", "ffn", 0.1)[1] == pytest.approx(0.07)


def test_savings_of_sublayers_add_and_those_of_kinds_combine() -> None:
    names = [f"model.decoder.layers.{i}.ffn" for i in range(2)]
    found = TABLE.predict({names[0]: {"ffn": 0.5}, names[1]: {"ffn": 1.0, "sublayer": 0.0}})
    assert found.encoder == 2.0 and found.token == pytest.approx(0.36)
    assert found.sentence == pytest.approx(2.0 + 20 * 0.36)
    attention = TABLE.predict({"model.encoder.layers.0.self_attn": {"heads": 0.5, "qk": 0.5, "vo": 0.75}})
    assert attention.encoder == pytest.approx(2.0 - 0.2 - 0.5 * (0.08 + 0.06))
    crossing = TABLE.predict({"model.decoder.layers.1.encoder_attn": {"heads": 0.0}})
    assert (crossing.encoder, crossing.token) == (pytest.approx(1.9), pytest.approx(0.45))


def test_at_a_smaller_width_sublayers_save_less() -> None:
    found = TABLE.predict({"model.encoder.layers.0.ffn": {"ffn": 0.5}, "model.decoder.layers.0.ffn": {"ffn": 0.5}}, 0.5)
    assert found.encoder == pytest.approx(1.0 - 0.4 * 1.0 / 2.0)
    assert found.token == pytest.approx(0.3 - 0.04 * 0.3 / 0.5)


HALF = {"model.encoder.layers.0.ffn": {"ffn": 0.5}, "model.decoder.layers.0.ffn": {"ffn": 0.5}}


def test_anchors_say_how_savings_add_up() -> None:
    """Encoder: 0.4 of 2.0 ms saved by the sum of savings, 0.3 measured; token: 0.04 of 0.5, 0.06 measured."""
    table = replace(TABLE, anchors=(Anchor((1.6, 0.46), (1.7, 0.44)),))
    found = table.predict(HALF)
    assert (found.encoder, found.token) == (pytest.approx(1.7), pytest.approx(0.44))
    assert table.predict({}) == TABLE.predict({})
    assert table.anchored(np.array([1.8, 0.48])) == pytest.approx([1.85, 0.47])  # between
    assert table.anchored(np.array([1.2, 0.42])) == pytest.approx([1.4, 0.38])  # on along the line
    assert table.anchored(np.array([-9.0, -9.0])) == pytest.approx([0.04, 0.01])  # nothing is that fast
    assert table.adds(np.array([1.6, 0.46])) == pytest.approx([0.75, 1.5])
    more = replace(table, anchors=(*table.anchors, Anchor((1.0, 0.3), (1.3, 0.3))))
    assert more.anchored(np.array([1.3, 0.38])) == pytest.approx([1.5, 0.37])
    one_side = replace(TABLE, anchors=(Anchor((1.6, 0.5), (1.7, 0.45)),))  # what saves nothing says nothing
    assert one_side.predict(HALF).token == pytest.approx(0.46)


def test_how_savings_add_up_is_looked_up_at_the_time_asked_for() -> None:
    table = replace(TABLE, anchors=(Anchor((1.0, 0.25), (1.2, 0.3)),))
    assert table.adds_at(1.2 + 20 * 0.3) == pytest.approx([0.8, 0.8], rel=1e-3)
    assert TABLE.adds_at(6.0) == pytest.approx([1.0, 1.0])


def test_what_was_not_measured_is_said() -> None:
    with pytest.raises(InputError, match=r"no decoder\.self_attn heads; measured are decoder\.encoder_attn sublayer, "):
        TABLE.saved("decoder.self_attn", "heads", 0.5)
    with pytest.raises(InputError, match=r"no encoder\.ffn sublayer"):
        TABLE.saved("encoder.ffn", "sublayer", 0.0)


def test_only_runtimes_that_exist_are_timed() -> None:
    with pytest.raises(InputError, match="runtime 'tflite'; expected one of onnxruntime"):
        Setting(runtime="tflite")


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
    shares = shares_of(plan.with_kept(masks, {}, {}))
    assert shares == {name: {"heads": 0.5, "qk": 0.25}, "model.encoder.layers.0.ffn": {"ffn": 0.25}}
    with pytest.raises(InputError, match="cannot share a budget"):
        shares_of(make_plan(model, "marian", couplings(model, ["lines"])))


ATTENTIONS = ("encoder.self_attn", "decoder.self_attn", "decoder.encoder_attn")
PLACES = (*ATTENTIONS, "encoder.ffn", "decoder.ffn")


@pytest.mark.parametrize("family", ["marian", "bart"])
def test_every_point_can_be_built_and_only_what_is_asked_for_is(family: str) -> None:
    model: Any = small_model(family)
    found = list(variants(model, ("ffn", "heads", "qk", "vo", "sublayer", "width")))
    points = {(v.place, v.kind) for v in found}
    assert points == {
        *((p, k) for p in ATTENTIONS for k in ("heads", "qk", "vo")), ("encoder.ffn", "ffn"), ("decoder.ffn", "ffn"),
        *((p, "sublayer") for p in PLACES), ("model", "width"),
    }  # fmt: skip
    assert len(found) <= 24
    dense = sum(p.numel() for p in model.parameters())
    for v in found:
        assert len(v.plan.entries) == v.layers and sum(p.numel() for p in shrink(model, v.plan).parameters()) < dense
        assert v.share == (0.0 if v.kind == "sublayer" else v.plan.entries[0].keep.double().mean())
    removed = {v.place: v.layers for v in found if v.kind == "sublayer"}
    assert removed == {
        "encoder.self_attn": 2,
        "encoder.ffn": 2,
        "decoder.self_attn": 3,
        "decoder.ffn": 3,
        "decoder.encoder_attn": 2,
    }
    assert {(v.place, v.kind) for v in variants(model, ("qk",), removal=False)} == {(p, "qk") for p in ATTENTIONS}
    assert {v.kind for v in variants(model, ("ffn",), removal=True)} == {"ffn", "sublayer"}
    assert {v.place for v in variants(model, ("sublayer",), removal=False)} == set(PLACES)
    assert not list(variants(model, ()))


def test_a_table_reads_back_and_a_broken_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(TABLE.to_json()))
    assert LatencyTable.load(path) == TABLE
    path.write_text(json.dumps(TABLE.to_json() | {"dense": {}}))
    with pytest.raises(InputError, match=r"t\.json: no latency table"):
        LatencyTable.load(path)
    old = {key: value for key, value in TABLE.to_json().items() if key != "format"}
    path.write_text(json.dumps(old))
    with pytest.raises(InputError, match=r"format 1, expected 4\); delete it to measure again"):
        LatencyTable.load(path)


def test_a_table_is_for_one_model_and_one_setting() -> None:
    model, setting = small_model("marian"), Setting()
    assert key_of(model, setting) == key_of(small_model("marian", seed=1), setting)
    assert (
        len({key_of(model, setting), key_of(model, replace(setting, threads=2)), key_of(small_model("bart"), setting)})
        == 3
    )


def by_multiplications(dense: Path, pruned: Path, *_: Any) -> Any:
    """A machine whose times are the multiplications, for want of a quiet one."""
    return taking(*(float(read_json(folder.with_suffix(".json"))) for folder in (dense, pruned)))


def by_layout(dense: Path, pruned: Path, *_: Any) -> Any:
    """Likewise, by what real exports say."""
    return taking(*(float(read_layout(folder).macs) for folder in (dense, pruned)))


def taking(one: float, other: float) -> Any:
    ratio = {"encoder": one / other, "sentence": one / other}
    return SimpleNamespace(
        latency_ms={"dense": {"encoder": 1.0, "sentence": 6.5}}, ratios={name: [r] for name, r in ratio.items()},
        footprint={"dense": SimpleNamespace(tokens_per_sentence=10.0, peak_memory=10**8)},
    )  # fmt: skip


def exported(model: Any, out: Path, **how: Any) -> None:
    """A dense model's export; of a smaller one only the multiplications, which are all that such a machine looks at."""
    if out.name == "dense":
        export(model, out=out, **how)
    write_json(out.with_suffix(".json"), size(model).macs - _spared(model, rows_of(model, generation_of(model))))


def restless(*_: Any) -> Any:
    return SimpleNamespace(ratios={"encoder": [0.8, 1.2], "sentence": [0.8, 1.2]})


def test_points_are_kept_one_by_one_and_only_the_missing_ones_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fake:
        made = 0

        def __init__(self, model: Any, tokenizer: Any, sentences: Any, setting: Setting, folder: Path) -> None:
            Fake.made += 1

        def dense(self) -> LatencyTable:
            return replace(TABLE, points=())

        def ratios(self, plan: Any, what: str) -> dict[str, float]:
            if what.startswith("decoder.encoder_attn qk"):
                raise NoisyMachineError(what)
            return {"encoder": 2.0, "sentence": 1.2}

        def from_ratios(self, ratios: dict[str, float], table: LatencyTable) -> Times:
            return Timer.from_ratios(self, ratios, table)  # type: ignore[arg-type]

        def times(self, plan: Any, table: LatencyTable) -> Times:
            return table.predict_plan(plan)

    monkeypatch.setattr(latency_points, "Timer", Fake)
    model: Any = small_model("marian")
    said: list[str] = []

    def table(*kinds: str) -> LatencyTable:
        said.clear()
        return measured(model, None, ["a"], Setting(), tmp_path, said.append, kinds, removal=False)

    assert table() == replace(TABLE, points=()) and not said
    ffn = table("ffn")
    raw = LatencyTable.load(next(tmp_path.glob("*.json"))).points
    assert len(ffn.points) == len(raw) == len(said) - 3 == 4 and {p.encoder for p in raw} == {1.0 / 2, 1.0 / 3}
    assert table("ffn") == ffn and not said and Fake.made == 2
    with pytest.raises(NoisyMachineError):
        table("ffn", "qk")
    assert len(said) == 3  # two places of three were measured, and are kept
    left = LatencyTable.load(next(tmp_path.glob("*.json")))
    assert len(left.points) == 6
    assert len(table("width", "ffn").points) == 8 and len(said) == 2


@pytest.mark.slow
def test_measuring_fills_a_table_and_gives_up_on_a_noisy_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = model_and_tokenizer()
    monkeypatch.setattr(latency_points, "SHARES", {"ffn": (0.5,), "qk": (0.5,), "width": (0.5,)})
    monkeypatch.setattr(latency_points, "bench", by_layout)
    table = measured(model, tokenizer, ["a cat sat"], Setting(), tmp_path, kinds=("ffn", "qk", "sublayer", "width"))
    assert table.dense.token == pytest.approx((6.5 - 1) / table.tokens) and table.peak_memory == 10**8
    assert len(table.anchors) == 3 and table.anchors[0].measured > table.anchors[-1].measured
    assert key_of(model, Setting()) == table.key
    write_only_(model, range(20))
    assert key_of(model, Setting()) != table.key  # its decoder is another
    assert {p.place for p in table.points if p.kind == "sublayer"} == {*PLACES} - {"decoder.encoder_attn"}
    assert all(p.encoder + p.token > 0 for p in table.points)
    assert all(p.token == 0 for p in table.points if p.place.startswith("encoder.")) and ("model", "width") in {
        (p.place, p.kind) for p in table.points
    }
    with pytest.raises(NoisyMachineError, match=r"varies by 20\.0% over 8 rounds"):
        monkeypatch.setattr(latency_points, "bench", restless)
        timer = Timer(model, tokenizer, ("a cat sat",), Setting(), tmp_path)
        timer.ratios(next(whole_plans(model, ("ffn",))), "decoder.ffn at 50%")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that runs of the same shapes share: a table takes longer than all else in them."""
    return tmp_path_factory.mktemp("tables")


def multiplications_are_time(monkeypatch: pytest.MonkeyPatch, tables: Path) -> None:
    monkeypatch.setattr(latency_points, "bench", by_multiplications)
    monkeypatch.setattr(latency_points, "export", exported)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tables))


def a_run(
    out: Path, speedup: float, vocabulary: Parallel | None = None, *, prune: Any = None, recover: Any = None
) -> dict[str, Any]:
    stage = {"steps": 2, "warmup": 1, "tokens": 64}
    recipe = check_recipe({
        "data": {}, "model": {"d_model": 16, "layers": [1, 1], "heads": 2, "ffn": 32, "vocabulary": 40, "positions": 32},
        "train": stage, "analyze": {"steps": 2, "tokens": 64}, "prune": {**stage, "speedup": speedup, **(prune or {})}, "recover": {**stage, **(recover or {})},
        "bench": {"sentences": 2, "rounds": 4},
    })  # fmt: skip
    corpus = Corpus(PAIRS, PAIRS.head(8), {"test": PAIRS.head(8)})
    progress = Progress(expected_seconds(recipe, 1e4, True, vocabulary is not None))
    return run(Run(out, recipe, corpus, None, "test", progress, vocabulary=vocabulary))


@pytest.mark.slow
@pytest.mark.xdist_group("tables")
def test_a_run_that_is_asked_for_a_time(tmp_path: Path, tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    multiplications_are_time(monkeypatch, tables)
    results = a_run(tmp_path / "run", 1.1)
    asked, predicted = (results["target"][key]["sentence_ms"] for key in ("asked", "reached"))
    assert asked == pytest.approx(6.5 / 1.1) and 0 < predicted <= asked and results["target"]["speedup"] == 1.1
    assert results["pruned"]["macs"] < results["dense"]["macs"]
    assert f"asked for 1.1x, predicted {6.5 / predicted:.2f}x, measured " in notes(results)[0]
    assert LatencyTable.load(tmp_path / "run" / "latency.json").points


def test_a_spelling_saves_in_every_token_and_needs_more_of_them() -> None:
    for table in (TABLE, replace(TABLE, anchors=(Anchor((1.6, 0.46), (1.7, 0.44)),))):
        spelled = table.spelled(0.1, 1.2)
        assert spelled.dense == Times(2.0, pytest.approx(0.4), pytest.approx(2.0 + 24 * 0.4))
        before, after = table.predict(HALF), spelled.predict(HALF)
        assert (after.encoder, after.token) == (before.encoder, pytest.approx(before.token - 0.1))
        assert after.sentence == pytest.approx(before.encoder + 24 * (before.token - 0.1))


@pytest.mark.slow
@pytest.mark.xdist_group("tables")
def test_a_run_that_writes_fewer_tokens(tmp_path: Path, tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    multiplications_are_time(monkeypatch, tables)
    out = tmp_path / "run"
    results = a_run(out, 1.2, recover={"distill": 0.0, "sequence": 0.5}, prune={"written": 36})
    kept = read_json(out / "stages" / "spell.json")["kept"]
    pruned = load(out / "pruned")
    assert len(kept) <= 36 and sorted([*pruned.generation_config.suppress_tokens, *kept]) == list(range(40))
    faster = read_json(out / "stages" / "time.json")["faster"]
    longer = read_json(out / "stages" / "spell.json")["longer"]
    assert faster > 0.8 and longer >= 1
    asked, predicted = (results["target"][key]["sentence_ms"] for key in ("asked", "reached"))
    assert asked == pytest.approx(6.5 / 1.2) and 0 < predicted <= asked
    assert results["spelling"] == {"written": len(kept), "before": 40, "longer": longer}
    assert any(f"writes {len(kept)} of 40 tokens" in line for line in notes(results))
    assert read_layout(out / "onnx" / "pruned").macs < read_layout(out / "onnx" / "dense").macs


@pytest.mark.slow
@pytest.mark.xdist_group("tables")
@pytest.mark.parametrize("speedup", [1.4, 1.0001])
def test_a_speedup_counts_from_the_model_before_its_vocabulary_is_trimmed(
    tmp_path: Path, tables: Path, monkeypatch: pytest.MonkeyPatch, speedup: float
) -> None:
    multiplications_are_time(monkeypatch, tables)
    out = tmp_path / "run"
    results = a_run(out, speedup, PAIRS.head(1))
    faster = read_json(out / "stages" / "time.json")["faster"]
    dense, trimmed = (read_layout(out / "onnx" / "dense").macs, size(load(out / "trimmed")).macs)
    assert faster == pytest.approx(dense / trimmed, rel=0.02) and faster > 1.01
    asked, predicted = (results["target"][key]["sentence_ms"] for key in ("asked", "reached"))
    assert asked == pytest.approx(6.5 * faster / speedup) and 0 < predicted <= asked
    assert read_json(out / "promise.json")["speedup"] == pytest.approx(6.5 * faster / predicted)
    assert results["target"]["speedup"] == speedup
