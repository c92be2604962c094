"""The benchmark of runtimes: what it times, and its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.runtimes import one_pass, run
from benchmarks.runtimes.models import half
from benchmarks.runtimes.table import one_pass_table, runtimes_table
from benchmarks.runtimes.why import why_table
from tprune.support.files import read_json
from tprune.tasks.translation.encoding import MarianSize, new_model


def test_half_of_heads_and_units_stay() -> None:
    small: Any = half(new_model(MarianSize(d_model=32, layers=(1, 2), heads=4, ffn=64, positions=32), 40).eval())
    for layer in (*small.model.encoder.layers, *small.model.decoder.layers):
        assert layer.fc1.out_features == 32 and layer.self_attn.num_heads == 2
    assert all(layer.encoder_attn.num_heads == 2 for layer in small.model.decoder.layers)


def test_the_table_has_a_line_for_each_model_and_what_was_refused() -> None:
    ms = {"encoder": 2.0, "decoder_step": 1.0, "sentence": 20.0}
    against = {"fp32": {"sentence": [2.5, 2.4, 2.6]}, "int8": {"sentence": [1.25, 1.2, 1.3]}}
    scores = {f"beam {n}": {"bleu": 30.0 + n} for n in (1, 4)}
    beams = {"beam_4_ms": 40.0, "beam_4_against": {"int8": [1.5, 1.4, 1.6]}}
    models = {
        "dense fp32": {"ms": ms, "against": {}, "bytes": 4e6},
        "half int8": {"ms": ms, "against": against, "bytes": 1e6, "scores": scores, **beams},
    }
    row = {"case": "d256", "runtime": "onnxruntime", "threads": 1, "rounds": 16, "sentences": 20, "models": models}
    row |= {"refused": {"dense bf16": "no kernels"}, "machine": {"cpu": "cpu"}, "commit": "c"}
    text = runtimes_table({"rows": [row, row | {"threads": 2}, row | {"threads": 4, "machine": {"cpu": "another"}}]})
    one, two = text.split("**d 256, 3 + 3 layers, Multi30k** (another; source at c)")  # machines are kept apart
    lines = [line for line in one.splitlines() if line.startswith(("| dense |", "| half of"))]
    assert len(lines) == 4 and "| 4 |" not in one and two.count("| 4 |") == 2
    assert lines[1].endswith(
        "| 20.00 | 2.50 [2.40, 2.60] | 1.25 [1.20, 1.30] | 40.00 | 1.50 [1.40, 1.60] | 1.0 M | 31.00 / 34.00 |"
    )
    assert text.count("- onnxruntime, dense bf16: no kernels") == 1


def test_what_is_slower_than_its_cut_is_explained() -> None:
    def model(macs: int, ms: float) -> dict[str, Any]:
        return {"macs": macs, "rounds_ms": {"sentence": [ms, ms, ms]}}

    def spent(products: float) -> dict[str, dict[str, float]]:
        return {
            graph: {"MatMul": products, "Gemm": 1.0, "Reshape": 7.0, "Add": 2.0} for graph in ("encoder", "decoder")
        }

    models = {"dense int8": model(200, 10.0), "half int8": model(100, 6.0), "2x int8": model(100, 5.5)}
    row = {"case": "d256", "models": models, "operators": {name: spent(len(name)) for name in models}}
    lines = why_table({"rows": [row, row | {"operators": {}}]}).splitlines()
    assert len(lines) == 3  # 2.00x fewer and 1.82x as fast needs no reason
    assert lines[2].endswith("half of heads and FFN, int8 | 2.00x | 1.67x | 11 → 10 | 9 → 9 | 11 → 10 | 9 → 9 |")


def test_beams_are_timed_for_fp32_and_int8_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[set[str], Any]] = []

    def timed(made: Any, threads: int, rounds: int, sentences: Any, work: Any) -> Any:
        asked.append(({" ".join(key) for key in made}, work))
        return {
            " ".join(key): {"ms": {"sentence": 9.0}, "against": {"int8": {"sentence": [2.0, 1.9, 2.1]}}} for key in made
        }

    monkeypatch.setattr(run, "timed", timed)
    made = {("dense", name): Path(name) for name in ("fp32", "int8", "int8-greedy")}
    rows = run.with_beams({f"dense {name}": {"bytes": 1} for _, name in made}, made, 1, 6, ["a"])
    ((names, work),) = asked
    assert names == {"dense fp32", "dense int8"} and (work.beams, work.measures) == (4, ("sentence",))
    assert rows["dense int8"] == {"bytes": 1, "beam_4_ms": 9.0, "beam_4_against": {"int8": [2.0, 1.9, 2.1]}}
    assert rows["dense int8-greedy"] == {"bytes": 1}


def test_rows_of_another_machine_stay(tmp_path: Path) -> None:
    row = {"case": "d256", "runtime": "onnxruntime", "threads": 1, "machine": {"cpu": "one"}}
    for each in (row | {"n": 1}, row | {"machine": {"cpu": "two"}}, row | {"n": 2}):
        run.store(each, tmp_path / "rows.json")
    rows = read_json(tmp_path / "rows.json")["rows"]
    assert [one.get("n") for one in rows] == [None, 2]


def test_what_a_verb_refuses_is_a_row_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines: list[tuple[str, ...]] = []

    def verb(*words: str) -> tuple[int, str, str]:
        lines.append(words)
        return (1, "", "it has no bf16") if "bf16" in words else (0, "", "")

    monkeypatch.setattr(one_pass, "verb", verb)
    (bert,) = (one for one in one_pass.OTHERS if one.name == "bert")
    _, pruned = one_pass.command(one_pass.SERIES, bert, one_pass.ASKED, 0, tmp_path)
    pruned.mkdir(parents=True)
    (pruned / "results.json").write_text("{}", encoding="utf-8")  # pruned already
    found = list(one_pass.exported(bert, tmp_path, tmp_path / "out", "onnxruntime", ("int8-static", "bf16")))
    assert [what for _, precision, what in found if precision == "bf16"] == ["it has no bf16"] * 2
    calibrated = [line for line in lines if "int8-static" in line]
    assert len(calibrated) == 2 and all(line[line.index("--valid") + 1].endswith("valid.tsv") for line in calibrated)


def test_an_export_that_does_not_run_here_has_no_score(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(one_pass, "verb", lambda *words: (3, "", "exported for Core ML, which runs on iOS 17"))
    assert one_pass.scored(one_pass.OTHERS[0], tmp_path, tmp_path / "dense-coreml-fp32").endswith("runs on iOS 17")
    assert not list(tmp_path.glob("*.scores.json"))


def test_models_of_one_pass_have_their_own_table() -> None:
    model = {
        "ms": {"pass": 0.5},
        "against": {"fp32": {"pass": [2.0, 1.9, 2.1]}},
        "bytes": 1e6,
        "score": {"value": 81.0},
    }
    row = {"case": "bert", "runtime": "onnxruntime", "threads": 1, "models": {"half int8": model}}
    text = one_pass_table({"rows": [row | {"machine": {"cpu": "cpu"}, "commit": "c"}]})
    line = "| half of the multiplications | onnxruntime, int8 | 1 | 0.50 | 2.00 [1.90, 2.10] |  | 1.00 M | 81.00 |"
    assert line in text.splitlines() and text.startswith("**BERT, 128 wide, 4 layers, SST-2** (cpu; source at c)")
