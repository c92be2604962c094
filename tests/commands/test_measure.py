"""evaluate, export, runtimes: models by any of their names."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tprune.commands.evaluate import checkpoint_of, evaluate, is_run
from tprune.data import Parallel, read_pair
from tprune.errors import InputError
from tprune.evaluate import quality
from tprune.runtimes.matrix import RUNTIMES, Runtime
from tprune.runtimes.onnx_translate import Translator

Call = Callable[..., tuple[int, str, str]]
TEST = ("--src", "s", "--tgt", "t")


@pytest.fixture
def run(tprune: Call, model: Path) -> Path:
    """A directory that looks like a finished run, of one model twice."""
    folder = model.parent / "run"
    for side in ("dense", "pruned"):
        assert tprune("export", model, "--out", folder / "onnx" / side, "--sentences", "s")[0] == 0
    (folder / "run.json").write_text("{}")
    return folder


@pytest.mark.slow
def test_a_model_is_scored_by_any_of_its_names(tprune: Call, model: Path, run: Path) -> None:
    pairs = read_pair(model.parent / "s", model.parent / "t")
    said = Translator.load(run / "onnx" / "pruned").translate(pairs.source)
    expected = quality(said, pairs.target)
    for name in (model, run / "onnx" / "pruned"):
        code, out, notes = tprune("evaluate", name, *TEST, "--json")
        assert code == 0, notes
        found = json.loads(out)["scores"][str(name)]
        assert found["bleu"] == expected.bleu and found["chrf"] == expected.chrf
        assert found["bleu_low"] <= found["bleu"] <= found["bleu_high"] and found["bleu_signature"].startswith(
            "nrefs:1"
        )
    code, out, _ = tprune("evaluate", run, *TEST, "--beam", 1, "--json")
    both = json.loads(out)
    assert code == 0 and both["paired"]["delta"] == 0.0 and both["beams"] == 1
    assert list(both["scores"]) == [str(run / "onnx" / side) for side in ("dense", "pruned")]
    code, out, _ = tprune("evaluate", model, *TEST, "--against", run / "onnx" / "dense")
    assert code == 0 and f"{model} against {run / 'onnx' / 'dense'}: +0.00 BLEU [+0.00, +0.00]" in out


@pytest.mark.slow
def test_an_export_says_how_well_it_agrees(tprune: Call, model: Path) -> None:
    code, out, notes = tprune("export", model, "--out", "small", "--sentences", "s", "--json")
    assert code == 0, notes
    found = json.loads(out)
    assert (
        found["greedy_equal"] + found["greedy_ties"] == found["sentences"] == 36 and found["max_relative_error"] < 1e-4
    )
    before = {path.name: path.read_bytes() for path in (model.parent / "small").iterdir()}
    code, _, notes = tprune("export", "small", "--out", "again")
    assert code == 1 and "small: exported already" in notes and not (model.parent / "again").exists()
    code, _, notes = tprune("export", model, "--out", "s")
    assert code == 1 and "s" in notes and (model.parent / "s").read_text()
    (model.parent / "long").write_text("a cat sat " * 40 + "\n")
    assert tprune("export", model, "--out", "small", "--sentences", "long")[0] == 1
    assert before == {path.name: path.read_bytes() for path in (model.parent / "small").iterdir()}


def test_runs_that_are_not_there_yet_are_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert is_run(str(tmp_path)) and not is_run(str(tmp_path / "model"))
    with pytest.raises(InputError, match="this run has exported no pruned model yet"):
        evaluate(str(tmp_path), Parallel(("a",), ("b",)))
    with pytest.raises(InputError, match="this run has no pruned model yet"):
        checkpoint_of(str(tmp_path))
    with pytest.raises(InputError, match="no such directory"):
        evaluate(str(tmp_path / "nothing"), Parallel(("a",), ("b",)))


def test_runtimes_say_what_is_here_and_how_to_get_the_rest(tprune: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = tprune("runtimes")
    assert code == 0 and all(runtime.name in out for runtime in RUNTIMES) and "pip install" not in out
    absent = Runtime("other", "no-such-package", "pip install no-such-package", ("fp32",), "tprune export", False)
    monkeypatch.setattr("tprune.runtimes.matrix.RUNTIMES", (absent,))
    code, out, _ = tprune("runtimes")
    assert absent.version is None and "no-such-package" in out and "fp32" in out


def test_precisions_and_runtimes_that_do_not_exist_are_refused(tprune: Call, model: Path) -> None:
    for option in (("--precision", "int3"), ("--runtime", "tflite")):
        code, _, notes = tprune("export", model, "--out", "small", *option)
        assert code == 2 and option[1] in notes and not (model.parent / "small").exists()
