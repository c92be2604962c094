"""Speech recognition by every verb, from recordings to a pruned model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from small_sounds import sounds
from small_tasks import listener, speech_processor, speller, speller_processor
from tprune.realise.checkpoint import save
from tprune.report.results import RunResults
from tprune.runtimes.certificate import ExportCertificate

Call = Callable[..., tuple[int, str, str]]
FEW = ("--set", "bench.rounds=4", "--set", "prune.floor=0")


@pytest.fixture
def heard(tmp_path: Path) -> tuple[Path, Path]:
    """A model, and a table of recordings."""
    return save(listener(), tmp_path / "model", speech_processor()), sounds(tmp_path, 6)


@pytest.fixture
def spelled(tmp_path: Path) -> tuple[Path, Path]:
    """A model that transcribes in one pass, and a table of recordings."""
    return save(speller(), tmp_path / "model", speller_processor(tmp_path)), sounds(tmp_path, 6)


def test_a_checkpoint_is_scored(tprune: Call, heard: tuple[Path, Path]) -> None:
    model, table = heard
    code, out, notes = tprune("evaluate", model, "--test", table, "--json")
    assert code == 0, notes
    found = json.loads(out)
    (score,) = found["scores"][str(model)]
    assert found["task"] == "speech-recognition" and score["metric"]["name"] == "WER" and score["count"] == 36
    assert score["low"] <= score["value"] <= score["high"]


def test_the_family_is_checked(tprune: Call, heard: tuple[Path, Path]) -> None:
    code, out, notes = tprune("inspect", heard[0], "--check", "--json")
    assert code == 0 and json.loads(out)["task"] == "speech-recognition", notes


def test_recordings_that_are_none(tprune: Call, heard: tuple[Path, Path]) -> None:
    model, table = heard
    (table.parent / "2.wav").write_bytes(b"no sound")
    (table.parent / "4.wav").write_bytes((table.parent / "4.wav").read_bytes()[:-90])
    code, _, notes = tprune("evaluate", model, "--test", table)
    assert code == 1 and "12 of 36 recordings cannot be used: " in notes and f"row 3, {table.parent}/2.wav" in notes


@pytest.mark.slow
def test_from_recordings_to_a_pruned_model(tprune: Call, heard: tuple[Path, Path]) -> None:
    model, table = heard
    sets = ("--train", table, "--valid", table)
    code, _, notes = tprune("prune", model, "--macs", 0.9, "--one-shot", "--out", "run", *sets, *FEW)
    assert code == 0 and Path("run/report.html").exists(), notes
    found = RunResults.from_dict(json.loads(Path("run/results.json").read_text()))
    assert set(found.pruned.scores) == {"WER"} and set(found.speedup["onnxruntime"]) >= {"encoder", "recording"}
    assert {row.precision for row in found.rows} == {"fp32", "int8"}
    code, out, notes = tprune("evaluate", "run", "--test", table)
    assert code == 0 and "run/onnx/pruned against run/onnx/dense: WER " in out, notes
    code, _, notes = tprune("export", "run/pruned", "--valid", table, "--out", "exported")
    assert code == 0, notes
    assert ExportCertificate.read(Path("exported")).fresh
    line = ("evaluate", "exported", "--against", "run/pruned", "--test", table, "--json")
    code, out, notes = tprune(*line)
    assert code == 0 and json.loads(out)["paired"]["delta"] == 0, notes
    code, out, notes = tprune("bench", "exported", "exported", "--rounds", 4)
    assert code == 0 and "recording, ms" in out and "encoder pass, ms" in out, notes
    code, out, notes = tprune("inspect", "run/pruned", "--kind", "ffn", "--json")
    assert code == 0 and json.loads(out)["task"] == "speech-recognition", notes
    code, _, notes = tprune("translate", "exported")
    assert code == 1 and "expected one for translation" in notes


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_checkpoint_is_scored_as_it_is_exported(tprune: Call, heard: tuple[Path, Path], precision: str) -> None:
    model, table = heard
    line = ("evaluate", model, "--test", table, "--runtime", "onnxruntime", "--precision", precision, "--json")
    code, out, notes = tprune(*line)
    assert code == 0 and json.loads(out)["task"] == "speech-recognition", notes


@pytest.mark.slow
def test_from_recordings_to_a_pruned_model_of_one_pass(tprune: Call, spelled: tuple[Path, Path]) -> None:
    model, table = spelled
    code, out, notes = tprune("evaluate", model, "--test", table, "--json")
    assert code == 0 and json.loads(out)["task"] == "speech-recognition-ctc", notes
    sets = ("--train", table, "--valid", table)
    code, _, notes = tprune("prune", model, "--macs", 0.9, "--out", "run", *sets, *FEW, "--steps", 4)
    assert code == 0 and Path("run/report.html").exists(), notes
    found = RunResults.from_dict(json.loads(Path("run/results.json").read_text()))
    assert set(found.pruned.scores) == {"WER"} and set(found.speedup["onnxruntime"]) == {"pass"}
    code, out, notes = tprune("evaluate", "run", "--test", table)
    assert code == 0 and "run/onnx/pruned against run/onnx/dense: WER " in out, notes
    code, _, notes = tprune("export", "run/pruned", "--out", "exported")
    assert code == 0 and Path("exported/vocab.json").exists(), notes
    code, out, notes = tprune("evaluate", "exported", "--against", "run/pruned", "--test", table, "--json")
    assert code == 0 and json.loads(out)["paired"]["delta"] == 0, notes
    code, out, notes = tprune("bench", "exported", "exported", "--rounds", 4)
    assert code == 0 and "pass, ms" in out, notes
