"""Bundles, and their check on devices: planted faults are named in one line each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hand_made
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import SENTENCES, teach_

from tprune.cli.bundle import bundle_to
from tprune.core.precision import INT8
from tprune.report.verb_tables import bundle_table
from tprune.runtimes.bundle.licenses import of_model
from tprune.runtimes.bundle.make import bundle
from tprune.runtimes.certificate import CERTIFICATE
from tprune.runtimes.export import export
from tprune.runtimes.export_tokens import write_tokens
from tprune.support.errors import CertificateError, InputError
from tprune.support.files import read_json, write_json
from tprune.support.manifest import Manifest
from tprune.tasks.translation.encoding import MarianSize, new_model
from tprune_runtime.__main__ import main
from tprune_runtime.check import check
from tprune_runtime.decoding import constrain
from tprune_runtime.digest import compared, digest
from tprune_runtime.generation import Generation
from tprune_runtime.replay import constrained

Check = Callable[..., tuple[int, list[str]]]


@pytest.fixture(scope="session")
def exported(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    write_tokens(tokenizer, folder)
    return hand_made.translation(folder, len(tokenizer))


@pytest.fixture(scope="session")
def made(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "made"
    bundle(exported, out, SENTENCES)
    return out


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """The exit code and the lines of checks that failed."""
    capsys.readouterr()
    code = main(["check", str(folder)])
    return code, [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED")]


def sealed(folder: Path) -> None:
    """Writes the sums of the files as they are now, so that only what they compute can show."""
    manifest = read_json(folder / "manifest.json")
    manifest["files"] = Manifest.of(folder, [folder / name for name in manifest["files"]]).to_dict()
    write_json(folder / "manifest.json", manifest)


def golden_of(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_bundle_is_whole_and_passes_its_check(made: Path, exported: Path, capsys: Any) -> None:
    manifest = read_json(made / "manifest.json")
    assert {path.name for path in made.iterdir()} == {*manifest["files"], "manifest.json"}
    assert {"encoder.onnx", "decoder.onnx", "tokenizer.json", "golden.jsonl", CERTIFICATE} <= set(manifest["files"])
    assert (made / "decoder.onnx").read_bytes() == (exported / "decoder.onnx").read_bytes()
    assert manifest["runtime"] == {"name": "onnxruntime", "version": onnxruntime.__version__, "minimum": "1.20"}
    assert manifest["ids"] == {"decoder_start": 0, "bos": None, "eos": [1], "pad": 0}
    assert manifest["tokenizer"] == ["tokenizer.json"] and manifest["precision"]["name"] == "fp32"
    decoder = manifest["graphs"][1]
    assert decoder["inputs"][0] == {"name": "input_ids", "dtype": "int64", "dims": ["batch", 1]}
    assert decoder["outputs"][0]["name"] == "logits" and decoder["outputs"][0]["dtype"] == "float32"
    assert decoder["states"] == [["past_key_0", "present_key_0"], ["past_value_0", "present_value_0"]]
    cases = golden_of(made)
    assert [len(case["fed"]) for case in cases if "fed" in case] == [1, 2]
    assert all(len(row) == 48 for case in cases for row in case.get("fed", ()))
    assert any(len(case["ids"]) > 3 for case in cases if "ids" in case)
    code, failed = run(made, capsys)
    assert code == 0 and not failed


def test_the_check_runs_without_tprune(made: Path) -> None:
    """Copied to a folder of its own, as on a device."""
    package = Path(sys.modules["tprune_runtime"].__file__ or "").parent
    shutil.copytree(package, made.parent / "device" / "tprune_runtime", dirs_exist_ok=True)
    code = (
        "import sys; sys.path.insert(0, '.'); sys.modules['tprune'] = None; sys.modules['torch'] = None\n"
        f"from tprune_runtime.__main__ import main; sys.exit(main(['check', {str(made)!r}]))"
    )
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, cwd=made.parent / "device", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == len(golden_of(made)) + 4


def test_a_flipped_byte_is_named(copied: Path, capsys: Any) -> None:
    content = bytearray((copied / "decoder.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copied / "decoder.onnx").write_bytes(content)
    code, failed = run(copied, capsys)
    assert (code, failed) == (1, ["FAILED decoder.onnx: has another sha256 than when the bundle was made"])


def test_missing_files_are_named(copied: Path, capsys: Any) -> None:
    (copied / "encoder.onnx").unlink()
    (copied / "golden.jsonl").unlink()
    code, failed = run(copied, capsys)
    assert (code, failed) == (1, ["FAILED encoder.onnx: is missing", "FAILED golden.jsonl: is missing"])
    (copied / "manifest.json").unlink()
    code, failed = run(copied, capsys)
    assert code == 1 and len(failed) == 1 and "manifest.json: cannot be read" in failed[0]


def test_a_file_of_another_precision_is_named(copied: Path, capsys: Any) -> None:
    model = onnx.load(copied / "decoder.onnx")
    for weight in model.graph.initializer:
        if weight.name == "out":  # with 4 bits
            x = numpy_helper.to_array(weight)
            scale = np.abs(x).max() / 7
            weight.CopyFrom(numpy_helper.from_array((np.round(x / scale) * scale).astype(np.float32), "out"))
    model.doc_string = "int4-weights"
    onnx.save(model, copied / "decoder.onnx")
    assert "FAILED decoder.onnx: has " in run(copied, capsys)[1][0]
    sealed(copied)  # and where somebody gave it another sum
    code, failed = run(copied, capsys)
    assert code == 1 and failed[0].startswith("FAILED greedy 1: step 1 of input 1: logits are off by ")
    certificate = read_json(copied / CERTIFICATE)
    certificate["precision"]["name"] = "int4-weights"
    write_json(copied / CERTIFICATE, certificate)
    sealed(copied)
    assert run(copied, capsys) == (1, [f"FAILED {CERTIFICATE}: int4-weights, not fp32"])


def test_logits_that_are_off_after_step_20_are_named(copied: Path, capsys: Any) -> None:
    model = onnx.load(copied / "decoder.onnx")
    (last,) = (node for node in model.graph.node if "logits" in node.output)
    last.output[0] = "right"
    late = [
        helper.make_node("Less", ["position", "twenty"], ["early"]),
        helper.make_node("Where", ["early", "one", "more"], ["factor"]),
        helper.make_node("Mul", ["right", "factor"], ["logits"]),
    ]
    model.graph.node.extend(late)
    for name, value, kind in (("twenty", 20, np.int64), ("one", 1, np.float32), ("more", 1.01, np.float32)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value], kind), name))
    onnx.save(model, copied / "decoder.onnx")
    sealed(copied)
    code, failed = run(copied, capsys)
    assert code == 1 and len(failed) == 2  # short searches do not see it
    assert failed[0].startswith("FAILED forced, 48 steps: step 21 of input 1: logits are off by 0.0")


def test_an_old_runtime_is_named(copied: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", "1.9.2")
    code, failed = run(copied, capsys)
    assert (code, failed) == (1, ["FAILED onnxruntime 1.9.2; expected 1.20 or newer"])


def test_other_graphs_and_other_formats_are_named(copied: Path, capsys: Any) -> None:
    model = onnx.load(copied / "encoder.onnx")
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    onnx.save(model, copied / "encoder.onnx")
    sealed(copied)
    (line,) = run(copied, capsys)[1]
    assert line.startswith("FAILED encoder.onnx: takes input_ids, attention_mask, more; expected")
    (copied / "encoder.onnx").write_bytes(b"no graph")
    sealed(copied)
    (line,) = run(copied, capsys)[1]
    assert line.startswith("FAILED encoder.onnx: cannot be loaded")
    manifest = read_json(copied / "manifest.json")
    write_json(copied / "manifest.json", manifest | {"format": 2})
    assert "format 2; this tprune_runtime reads 1" in run(copied, capsys)[1][0]
    write_json(copied / "manifest.json", {"format": 1})
    assert "not the manifest of a bundle" in run(copied, capsys)[1][0]


def test_language_models_and_classifiers_have_bundles(tmp_path: Path) -> None:
    stepped = ("pass 1", "forced, 48 steps", "forced, two inputs, 48 steps", "greedy 1")
    made = (("lm", hand_made.language_model, stepped), ("images", hand_made.classifier, ("pass 1", "pass 2")))
    for name, write, expected in made:
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "model_settings.json", {"vocab_size": 30, "eos_token_id": 2})
        report = bundle(write(tmp_path / name), tmp_path / f"{name}-bundle")
        manifest = read_json(tmp_path / f"{name}-bundle" / "manifest.json")
        assert manifest["ids"] == {"bos": None, "eos": [2], "pad": None} and manifest["vocabulary"] == 30
        assert all(line.passed for line in check(tmp_path / f"{name}-bundle"))
        assert report.cases == expected


def test_a_decoder_that_knows_some_tokens_has_golden_ids_of_the_model(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "exported").mkdir()
    write_tokens(tokenizer, tmp_path / "exported")
    rows = (0, 1, *range(len(tokenizer) // 2, len(tokenizer), 2))
    bundle(hand_made.translation(tmp_path / "exported", len(tokenizer), rows), tmp_path / "out", SENTENCES)
    cases = golden_of(tmp_path / "out")
    written = {token for case in cases for token in case.get("ids", ())}
    assert len(written) > 2 and written <= set(rows) and max(written) >= len(rows)
    assert max(token for case in cases for row in case.get("fed", ()) for token in row) < len(rows)
    assert all(line.passed for line in check(tmp_path / "out"))


def test_what_cannot_become_a_bundle_is_refused(exported: Path, tmp_path: Path, made: Path) -> None:
    with pytest.raises(InputError, match="no sentences"):
        bundle(exported, tmp_path / "out", [" "])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(InputError, match=r"holds thesis\.txt, which is of no bundle"):
        bundle(exported, tmp_path / "mine", SENTENCES)
    with pytest.raises(InputError, match="no such folder; expected that of the model"):
        bundle(exported, tmp_path / "out", SENTENCES, tmp_path / "nowhere")
    other = Path(shutil.copytree(exported, tmp_path / "other"))
    (other / CERTIFICATE).unlink()
    with pytest.raises(InputError, match="no certificate"):
        bundle(other, tmp_path / "out", SENTENCES)
    assert not (tmp_path / "out").exists()


def test_a_bundle_that_does_not_pass_its_check_is_not_written(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tprune.runtimes.onnxruntime.engine.OPSETS", ((99, "99.0"),))
    with pytest.raises(CertificateError, match=r"out: .* onnxruntime .*; expected 99\.0 or newer"):
        bundle(exported, tmp_path / "out", SENTENCES)
    assert not (tmp_path / "out").exists()


def test_licenses_are_taken_from_the_models_folder(exported: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "README.md").write_text("---\nlanguage: en\nlicense: cc-by-4.0\n---\n# Model\nlicense: none\n")
    assert of_model([model]).name == "cc-by-4.0"
    (model / "LICENSE.txt").write_text("terms")
    report = bundle(exported, tmp_path / "out", SENTENCES, model)
    assert report.licenses == {"tprune": "Apache-2.0", "model": "cc-by-4.0"}
    assert (tmp_path / "out" / "model-LICENSE.txt").read_text() == "terms"
    (model / "README.md").write_text("---\nlicense: [\n---\n")
    assert of_model([tmp_path / "out", model]).name == "see model-LICENSE.txt"
    assert of_model([exported]).name == "not stated"


def test_greedy_search_has_the_settings_of_generate() -> None:
    """As `tprune_runtime.decoding`, one row at a time."""
    random = np.random.default_rng(0)
    g = Generation(
        *(0, (1,), 0, 12),
        bad_words_ids=((3,), (4, 5), (0, 6)),
        min_length=4,
        forced_bos_token_id=7,
        forced_eos_token_id=(1,),
        no_repeat_ngram_size=2,
        repetition_penalty=1.3,
    )
    plain = json.loads(json.dumps({name: getattr(g, name) for name in Generation.__dataclass_fields__}))
    for length in range(1, 12):
        for _ in range(20):
            said = [0, *random.integers(0, 9, length - 1).tolist()]
            scores = random.normal(size=9).astype(np.float32)
            expected = constrain(scores[None].copy(), np.array([said]), g)[0]
            assert np.array_equal(constrained(scores.copy(), said, plain), expected)
    single = {**plain, "no_repeat_ngram_size": 1}
    assert np.isneginf(constrained(np.zeros(9, np.float32), [0, 2], single)[[0, 2]]).all()


def test_digests_tell_faults_from_ties() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 3, 20)).astype(np.float32)
    logits[1, 2, :2] = 9, 9.001
    found = digest(logits, 1e-3)
    assert found["argmax"][5] is None and None not in found["argmax"][:5]
    assert compared(found, logits * 1.0005, 1e-3)[1] is None
    assert compared(found, logits[:, :2], 1e-3)[1] == "logits of shape [2, 2, 20], expected [2, 3, 20]"
    off = logits.copy()
    off[1, 1] = np.nan
    assert str(compared(found, off, 1e-3)[1]).startswith("step 2 of input 2: logits are off by nan")
    other = logits.copy()
    first = int(logits[0, 1].argmax())
    unseen = next(i for i in range(20) if i not in (first, *found["places"]))
    other[0, 1, [first, unseen]] = other[0, 1, [unseen, first]]
    said = compared(found, other, 1e-3)[1]
    assert first in found["places"] or said == f"step 2 of input 1: the likeliest is {unseen}, expected {first}"
    assert said is not None


def test_the_verb_shows_what_a_bundle_holds_and_says_what_is_not_stated(exported: Path, tmp_path: Path) -> None:
    said: list[str] = []
    shown = bundle_table(bundle_to(exported, tmp_path / "out", SENTENCES, None, said.append))
    assert said == ["the model's license is not stated; --model FOLDER takes it from LICENSE or README.md there"]
    assert "fp32, onnxruntime 1.20 or newer" in shown and "tprune_runtime check" in shown and "golden.jsonl" in shown


@pytest.mark.slow
def test_a_real_export_becomes_a_bundle(tokenizer: Any, tmp_path: Path) -> None:
    model = new_model(MarianSize(32, (1, 2), 4, 48, len(tokenizer), 0.1, 64), len(tokenizer)).eval()
    teach_(model, tokenizer)
    model.generation_config.max_length = 24
    export(model, tokenizer, tmp_path / "exported", SENTENCES[:2])
    report = bundle(tmp_path / "exported", tmp_path / "out", SENTENCES)
    assert report.minimum == "1.23" and report.precision == "fp32"
    assert "forced, 48 steps" in report.cases and "greedy 1" in report.cases
    outputs = read_json(tmp_path / "out" / "manifest.json")["graphs"][1]["outputs"]
    assert [output["dims"] for output in outputs][:2] == [["batch", len(tokenizer)], ["batch", 4, "past + 1", 8]]
    assert all(line.passed for line in check(tmp_path / "out"))
    export(model, tokenizer, tmp_path / "int8", SENTENCES[:2], precision=INT8, thorough=False)
    assert bundle(tmp_path / "int8", tmp_path / "small", SENTENCES).precision == "int8"
    shutil.copyfile(tmp_path / "small" / "decoder.onnx", tmp_path / "out" / "decoder.onnx")
    assert "decoder.onnx: has " in next(line.text for line in check(tmp_path / "out") if not line.passed)
    sealed(tmp_path / "out")
    assert "logits are off by 0.0" in next(line.text for line in check(tmp_path / "out") if not line.passed)
