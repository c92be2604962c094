"""evaluate, export, runtimes: models by any of their names."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tprune.cli.evaluate import evaluate
from tprune.core.precision import INT8
from tprune.data.parallel import Parallel, read_pair
from tprune.report.verb_tables import export_table
from tprune.runtimes.certificate import ExportCertificate
from tprune.runtimes.onnxruntime.engine import OnnxRuntime
from tprune.runtimes.parity import LIMITS
from tprune.runtimes.runtime import RUNTIMES
from tprune.runtimes.translator import Translated, Translator
from tprune.support.errors import InputError
from tprune.tasks.metrics.translation import quality

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
    expected_cut = Translator.load(run / "onnx" / "pruned").translated(pairs.source)
    said = expected_cut.texts
    expected = quality(said, pairs.target)
    for name in (model, run / "onnx" / "pruned"):
        code, out, notes = tprune("evaluate", name, *TEST, "--json")
        assert code == 0, notes
        found = json.loads(out)["scores"][str(name)]
        assert found["bleu"] == expected.bleu and found["chrf"] == expected.chrf
        assert found["bleu_low"] <= found["bleu"] <= found["bleu_high"] and found["bleu_signature"].startswith(
            "nrefs:1"
        )
        assert found["at_limit"] == expected_cut.share and found["limit"] == expected_cut.limit == 31
        assert ("end at the limit of 31 tokens" in notes) == (expected_cut.share > 0.05)
    code, out, _ = tprune("evaluate", run, *TEST, "--beam", 1, "--json")
    both = json.loads(out)
    assert code == 0 and both["paired"]["delta"] == 0.0 and both["beams"] == 1
    assert list(both["scores"]) == [str(run / "onnx" / side) for side in ("dense", "pruned")]
    code, out, _ = tprune("evaluate", model, *TEST, "--against", run / "onnx" / "dense")
    assert code == 0 and f"{model} against {run / 'onnx' / 'dense'}: +0.00 BLEU [+0.00, +0.00]" in out


@pytest.mark.slow
def test_an_export_keeps_in_fp32_what_int8_harms(tprune: Call, model: Path) -> None:
    """The random model lies on both sides of a limit of nothing, so some weights stay and some do not."""
    limit, given = ("--precision", "int8", "--max-int8-loss", 0), ("--valid-src", "s", "--valid-tgt", "t")
    code, _, notes = tprune("export", model, "--out", "small", "--sentences", "s", *limit, *given)
    assert code == 0, notes
    exceptions = json.loads((model.parent / "small" / "layout.json").read_text())["exceptions"]
    constants = json.loads((model.parent / "small" / "certificate.json").read_text())["products"]
    kept = {name for one in constants if one["why"] == "kept by name" for name in one["weights"]}
    rounded = {name for one in constants if one["precision"] == "int8" for name in one["weights"]}
    assert kept == set(exceptions) and rounded and not rounded & kept
    assert ("int8 adds" in notes) and (not exceptions or exceptions[0] in notes or f"{len(exceptions)} weight" in notes)
    assert tprune("export", model, "--out", "b", "--precision", "int8-weights", *limit[2:], *given)[0] == 2
    code, _, notes = tprune("export", model, "--out", "b", *limit)
    assert code == 1 and "--valid-src and --valid-tgt" in notes
    code, _, notes = tprune("export", model, "--out", "b", "--max-int8-loss", -1)
    assert code == 2 and "expected at least 0 nats" in notes


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


def test_names_of_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="this run has no pruned model yet"):
        evaluate(str(tmp_path), Parallel(("a",), ("b",)))
    with pytest.raises(InputError, match="no such directory"):
        evaluate(str(tmp_path / "nothing"), Parallel(("a",), ("b",)))


def test_runtimes_say_what_is_here_and_how_to_get_the_rest(tprune: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = tprune("runtimes")
    assert code == 0 and "onnxruntime" in out and "transformers" in out and "pip install onnxruntime" not in out
    assert len(out.splitlines()) <= 40 and max(map(len, out.splitlines())) <= 120  # a screen
    code, whole, _ = tprune("runtimes", "--all")
    assert code == 0 and "uneven heads" in whole and "uneven head widths" in whole and "ctranslate2" in whole
    code, one, _ = tprune("runtimes", "--runtime", "coreml")
    assert code == 0 and "exported, not run here" in one and "onnxruntime" not in one
    absent = OnnxRuntime("other", "no-such-package", "pip install no-such-package")
    monkeypatch.setattr(RUNTIMES, "entered", {"other": absent})
    code, out, _ = tprune("runtimes")
    assert code == 0 and "pip install no-such-package" in out and "int4" in out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (("runtimes", "--record", "x.json"), "--record FILE needs exported folders"),
        (("runtimes", "a"), "folders are for --record FILE"),
        (("runtimes", "--precision", "int8"), "--precision is for --tune-multiples"),
        (("runtimes", "--tune-multiples", "--all"), "--all is for the list of runtimes"),
        (("runtimes", "a", "--record", "x.json", "--runtime", "onnxruntime"), "--runtime is for the list of runtimes"),
        (("runtimes", "a", "--record", "x.json", "--tune-multiples"), "are two things"),
        (("bench", "a", "b", "--runtime", "onnxruntime"), "expected torch or torch-compile, for checkpoints"),
        (("bench", "a", "b", "--runtime", "torch", "--precision", "int8"), "a reference runs fp32"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(tprune: Call, line: tuple[str, ...], says: str) -> None:
    code, _, said = tprune(*line)
    assert code == 2 and says in " ".join(said.split())


def test_a_folder_without_a_certificate_is_named(tprune: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, _, said = tprune("runtimes", "empty", "--record", "x.json")
    assert code == 1 and "empty: no certificate.json in it" in said and not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("verb", [("translate",), ("evaluate", *TEST), ("bench", "far")])
def test_an_export_whose_certificate_failed_is_refused(tprune: Call, model: Path, verb: tuple[str, ...]) -> None:
    far = ExportCertificate(
        "onnxruntime", "1.0", {}, INT8, LIMITS["int8"], {"rms": 0.2, "kl": 0.0, "top1": 1.0}, 48, True
    )
    (model.parent / "far").mkdir()
    (model.parent / "far" / "layout.json").write_text("{}")
    far.write(model.parent / "far")
    code, _, notes = tprune(verb[0], "far", *verb[1:])
    assert code == 1 and "rms 0.2, expected at most 0.1" in notes and "with --uncertified" in notes
    code, _, notes = tprune(verb[0], "far", *verb[1:], "--uncertified")
    assert code == 1 and "warning: far/certificate.json: farther" in notes and "layout.json" in notes.splitlines()[-1]


def test_an_export_in_int8_says_what_its_counts_mean() -> None:
    found = {"sentences": 8, "greedy_equal": 2, "greedy_ties": 0, "beam_equal": 1, "beam_ties": 0, "files": {}}
    found |= {"out": "small", "model": "m", "rms": 0.02, "kl": 0.001, "top1": 1.0, "max_relative_error": 1e-6}
    said = export_table(found | {"precision": "int8"})
    assert "greedy 2 of 8 equal" in said and "these counts are no test" in said
    assert "tprune evaluate small --against m" in said
    assert "no test" not in export_table(found | {"precision": "fp32"})


@pytest.mark.slow
def test_a_runtime_of_a_plugin_exports_scores_and_is_timed(
    tprune: Call, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's example as a module: `bench` runs it in processes of its own."""
    page = (Path(__file__).parents[2] / "docs" / "add-your-own.md").read_text(encoding="utf-8")
    code = next(block for block in page.split("```python\n") if "RUNTIMES.enter" in block).partition("```")[0]
    (model.parent / "torch_runtime.py").write_text(code)
    monkeypatch.setenv("TPRUNE_PLUGINS", "")
    plugin = ("--plugin", "torch_runtime")
    try:
        status, _, notes = tprune(
            "export", model, "--out", "torched", "--runtime", "torch", "--sentences", "s", *plugin
        )
        assert status == 0, notes
        assert json.loads((model.parent / "torched" / "layout.json").read_text())["runtime"] == "torch"
        assert tprune("export", model, "--out", "onnx", "--sentences", "s")[0] == 0
        status, out, notes = tprune("evaluate", "torched", *TEST, "--against", "onnx", "--json", *plugin)
        assert status == 0 and json.loads(out)["paired"]["delta"] == 0.0, notes
        status, _, notes = tprune("evaluate", "torched", *TEST, "--runtime", "onnxruntime", *plugin)
        assert status == 1 and "torched: exported for torch, not for onnxruntime" in notes
        status, out, notes = tprune("bench", "onnx", "torched", "--sentences", "s", "--rounds", 4, "--json", *plugin)
        assert status == 0 and list(json.loads(out)["speedup"]) == ["onnxruntime / torch"], notes
    finally:
        RUNTIMES.entered.clear()
        sys.modules.pop("torch_runtime", None)
    monkeypatch.setenv("TPRUNE_PLUGINS", "")  # as without --plugin
    status, _, notes = tprune("bench", "onnx", "torched", "--sentences", "s", "--rounds", 4)
    assert status == 1
    known = "coreml, ctranslate2, executorch, onnxruntime, openvino"
    assert f"exported for runtime 'torch'; expected one of {known}; a plugin's" in notes


def test_precisions_and_runtimes_that_do_not_exist_are_refused(tprune: Call, model: Path) -> None:
    for option in (("--precision", "int3"), ("--runtime", "tflite")):
        code, _, notes = tprune("export", model, "--out", "small", *option)
        assert code == 2 and option[1] in notes and not (model.parent / "small").exists()


@pytest.mark.slow
def test_sentences_too_long_for_the_model_are_left_out_of_bleu_aloud(tprune: Call, model: Path) -> None:
    sources, targets = ((model.parent / name).read_text().splitlines() for name in "st")
    (model.parent / "ls").write_text("\n".join(sources * 4 + ["a cat sat " * 20]) + "\n")
    (model.parent / "lt").write_text("\n".join(targets * 4 + ["x"]) + "\n")
    assert tprune("export", model, "--out", "onnx", "--sentences", "s")[0] == 0
    for name in ("onnx", "model"):
        code, out, notes = tprune("evaluate", name, "--src", "ls", "--tgt", "lt", "--json")
        found = json.loads(out)
        assert code == 0 and found["scores"][name]["sentences"] == 144, notes
        long, *others = found["warnings"]  # and the untrained model seldom ends a sentence itself
        assert f"warning: {long}" in notes and all("end at the limit" in line for line in others)
        assert "1 of 145 test sentences are NOT SCORED" in notes and "ls: line 145 has" in notes
    code, out, notes = tprune("evaluate", "onnx", "--src", "ls", "--tgt", "lt", "--long-lines", "crop")
    assert code == 0 and "145 sentences" in out and "1 of 145 sentences are cropped to the 32 tokens" in notes
    code, _, notes = tprune("evaluate", "onnx", "--src", "ls", "--tgt", "lt", "--long-lines", "fail")
    assert code == 1 and "ls: line 145 has" in notes and "the model takes at most 32" in notes
    code, _, notes = tprune("evaluate", "onnx", "--src", "ls", "--tgt", "lt", "--long-share", 0.005)
    assert code == 1 and "1 of 145 sentences (0.7%)" in notes and "--long-share 0.01" in notes


@pytest.mark.slow
def test_bleu_of_chinese_is_of_its_characters_unless_asked_otherwise(tprune: Call, model: Path) -> None:
    (model.parent / "zh").write_text("他昨天读了一本书。\n" * 36)
    assert tprune("export", model, "--out", "onnx", "--sentences", "s")[0] == 0
    code, out, notes = tprune("evaluate", "onnx", "--src", "s", "--tgt", "zh", "--json")
    assert code == 0 and "tok:zh" in out and "BLEU" not in "".join(json.loads(out)["warnings"]), notes
    code, out, notes = tprune("evaluate", "onnx", "--src", "s", "--tgt", "zh", "--bleu-tokenize", "13a")
    assert code == 0 and "tok:13a" in out and "warning: BLEU with the tokeniser 13a takes words between spaces" in notes
    code, _, notes = tprune("evaluate", "onnx", "--src", "s", "--tgt", "zh", "--bleu-tokenize", "chinese")
    assert code == 2 and "no BLEU tokeniser 'chinese'; expected one of 13a" in notes


def test_every_line_read_gives_one_line(tprune: Call, monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    class Byte:
        """A translator whose tokeniser writes line ends."""

        def translated(self, sentences: list[str], beams: int | None) -> Translated:
            assert sentences == ["eins", "zwei", "", "vier\rfünf"] and beams is None
            said = ["one\n\nONE\r\n", "two\u2028TWO\u0085", "", "\x0bfour\x0c\x1c"]
            return Translated(said, [False] * 4, 9)

    monkeypatch.setattr(Translator, "load", lambda folder, threads: Byte())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("eins\nzwei\r\n\nvier\rfünf".encode())))
    code, out, notes = tprune("translate", model.parent)
    assert code == 0, notes
    assert out == "one  ONE\ntwo TWO\n\n four \n" and len(out.splitlines()) == 4


def test_standard_input_that_never_ends_its_line_is_refused(tprune: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Translator, "load", lambda folder, threads: SimpleNamespace(translated=None))
    with Path("/dev/zero").open() as endless:
        monkeypatch.setattr(sys, "stdin", endless)
        code, _, notes = tprune("translate", "small")
    assert code == 1 and "standard input: line 1 has 160,000 bytes or more; expected a sentence" in notes


def test_files_whose_names_are_not_utf8_are_named(tprune: Call, model: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    (model.parent / odd).write_text("a\n\n")
    code, _, notes = tprune("evaluate", model, "--src", odd, "--tgt", "t")
    assert code == 1 and "line 2 is empty" in notes and "Traceback" not in notes
