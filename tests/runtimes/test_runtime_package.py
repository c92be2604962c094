"""The package for devices translates and classifies as tprune does, and imports nothing of it."""

from __future__ import annotations

import ast
import io
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import hand_made
import numpy as np
import pytest
from onnx_models import SENTENCES

import tprune_runtime
from tprune.runtimes.bundle.make import bundle
from tprune.runtimes.export_tokens import write_tokens
from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.translator import Translator as Exported
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json
from tprune_runtime.__main__ import main
from tprune_runtime.batches import by_length
from tprune_runtime.classifier import Classifier, Label
from tprune_runtime.translator import Translator

TEXTS = [*SENTENCES, "", "a", *reversed(SENTENCES)]
LABELS = {"bad": 0, "fair": 1, "good": 2}


def made(exported: Path, out: Path) -> Path:
    bundle(exported, out, SENTENCES)
    return out


@pytest.fixture(scope="module")
def exported(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    write_tokens(tokenizer, folder)
    rows = (0, 1, *range(2, len(tokenizer), 3))  # its decoder knows some tokens alone
    return hand_made.translation(folder, len(tokenizer), rows, num_beams=2, no_repeat_ngram_size=2)


@pytest.fixture(scope="module")
def translating(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(exported, tmp_path_factory.mktemp("bundles") / "translating")


@pytest.fixture(scope="module")
def classifying(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    write_tokens(tokenizer, folder)
    write_json(folder / "model_settings.json", {"label2id": LABELS, "pad_token_id": 0})
    hand_made.text_classifier(folder, len(tokenizer))
    return made(folder, tmp_path_factory.mktemp("bundles") / "classifying")


@pytest.mark.parametrize("beams", [None, 1, 4])
def test_translations_are_those_of_tprune(exported: Path, translating: Path, beams: int | None) -> None:
    expected = Exported.load(exported).translate(TEXTS, beams)
    translator = Translator.load(translating)
    assert translator.translate(TEXTS, beams) == expected and len({*expected}) > 2 and expected[len(SENTENCES)] == ""
    assert translator.translate(TEXTS, beams, batch=3) == Exported.load(exported).translate(TEXTS, beams, batch=3)


def test_a_stream_grows_to_the_translation(translating: Path) -> None:
    translator = Translator.load(translating)
    for text in SENTENCES:
        said = list(translator.stream(text))
        assert said[-1] == translator.translate([text], beams=1)[0]
        assert all(len(one) <= len(two) for one, two in pairwise(said)) and len(said) > 1
    assert list(translator.stream("  ")) == []


def test_classes_are_those_of_the_graph(classifying: Path, tokenizer: Any) -> None:
    classifier = Classifier.load(classifying)
    found = classifier.classify(SENTENCES, batch=2)
    for text, label in zip(SENTENCES, found, strict=True):
        ids = np.array([tokenizer(text)["input_ids"]])
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        logits = classifier.logits(inputs)[0]
        likely = np.exp(logits) / np.exp(logits).sum()
        assert label == Label(list(LABELS)[likely.argmax()], pytest.approx(likely.max(), rel=1e-5))
    assert len({label.name for label in found}) > 1 or len(found) < 3


def test_of_a_long_text_the_beginning_and_the_end_token_stay(classifying: Path) -> None:
    classifier = Classifier.load(classifying)
    most, text = classifier.graphs.manifest["limits"]["tokens"], " ".join(SENTENCES * 40)
    assert classifier.tokens is not None
    (whole,) = classifier.tokens.encode([text])
    (cut,) = classifier._encoded([text])
    assert len(whole) > most == len(cut) and cut == [*whole[: most - 1], whole[-1]]
    assert 0 < classifier.classify([text])[0].probability <= 1


def test_labels_without_names_are_numbers(classifying: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(classifying, tmp_path / "plain"))
    manifest = read_json(folder / "manifest.json")
    assert manifest["labels"] == list(LABELS)
    write_json(folder / "manifest.json", {key: value for key, value in manifest.items() if key != "labels"})
    names = {str(number): name for name, number in LABELS.items()}
    plain, named = Classifier.load(folder).classify(SENTENCES), Classifier.load(classifying).classify(SENTENCES)
    assert [names[label.name] for label in plain] == [label.name for label in named]


def test_what_does_not_fit_is_named(translating: Path, classifying: Path, tmp_path: Path) -> None:
    translator, classifier = Translator.load(translating), Classifier.load(classifying)
    for wrong, message in (
        (lambda: translator.translate("a dog"), "sentences: one string was given; expected a list"),  # type: ignore[arg-type]
        (lambda: translator.translate(["a", 3]), "sentences: number 2 is a int"),  # type: ignore[list-item]
        (lambda: translator.translate(["a", "\ud800"]), "sentences: number 2 has half of a pair"),
        (lambda: translator.translate(["a", "b " * 400]), r"sentence 2 has \d+ tokens; the model takes at most"),
        (lambda: translator.translate(["a"], beams=0), "beams 0; expected at least 1"),
        (lambda: translator.translate(["a"], batch=0), "batch 0; expected at least 1"),
        (lambda: classifier.classify("a dog"), "texts: one string was given"),  # type: ignore[arg-type]
        (lambda: classifier.logits({"input_ids": np.ones((1, 2), np.int64)}), "inputs input_ids; expected input_ids, "),
        (lambda: Translator.load(classifying), "a model for text-classification; expected one that writes text"),
        (lambda: Classifier.load(translating), "a model for translation; expected one that runs in one pass"),
        (lambda: Translator.load(tmp_path), "manifest.json: cannot be read"),
    ):
        with pytest.raises(InputError, match=message):
            wrong()
    images = tmp_path / "images"
    images.mkdir()
    pictures = Classifier.load(made(hand_made.classifier(images), tmp_path / "pictures"))
    with pytest.raises(InputError, match="a bundle without a tokeniser"):
        pictures.classify(["a"])
    pixels = np.random.default_rng(0).normal(size=(2, 3, 5, hand_made.WIDTH)).astype(np.float32)
    expected = OnePass.load(images).logits({"pixel_values": pixels})
    np.testing.assert_allclose(pictures.logits({"pixel_values": pixels}), expected, rtol=1e-5)


def given(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_the_command_line(
    translating: Path, classifying: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = Translator.load(translating).translate(SENTENCES, beams=1)
    for more in (["--beams", "1"], ["--stream"], ["--beams", "1", "--batch", "1"]):
        given(monkeypatch, list(SENTENCES))
        assert main(["translate", str(translating), *more]) == 0
        assert capsys.readouterr().out.splitlines() == expected
    given(monkeypatch, list(SENTENCES))
    assert main(["classify", str(classifying)]) == 0
    found = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _ in found] == [label.name for label in Classifier.load(classifying).classify(SENTENCES)]
    given(monkeypatch, ["a dog"])
    assert main(["classify", str(translating)]) == 3
    assert "tprune_runtime: " in capsys.readouterr().err
    given(monkeypatch, ["a", "b", "c " * 400])
    assert main(["translate", str(translating), "--batch", "2"]) == 3
    assert "standard input, counted from line 3: sentence 1 has" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\xff\n"), encoding="utf-8"))
    assert main(["classify", str(classifying)]) == 3 and "expected UTF-8" in capsys.readouterr().err
    assert main(["translate", str(translating), "--stream", "--beams", "2"]) == 3
    for wrong in (["--threads", "0"], ["--batch", "x"]):
        with pytest.raises(SystemExit) as ended:
            main(["translate", str(translating), *wrong])
        assert ended.value.code == 2


def test_a_damaged_manifest_is_named(translating: Path, classifying: Path, tmp_path: Path) -> None:
    for load, folder, wrong in (
        (Translator.load, translating, {"graphs": None}),
        (Translator.load, translating, {"rows": 3}),
        (Translator.load, translating, {"source_positions": "many"}),
        (Classifier.load, classifying, {"graphs": [{}]}),
        (Classifier.load, classifying, {"ids": []}),
    ):
        damaged = Path(shutil.copytree(folder, tmp_path / "damaged"))
        write_json(damaged / "manifest.json", read_json(damaged / "manifest.json") | wrong)
        with pytest.raises(InputError, match=r"manifest\.json: not the manifest of a bundle"):
            load(damaged)
        shutil.rmtree(damaged)
    damaged = Path(shutil.copytree(translating, tmp_path / "damaged"))
    manifest = read_json(damaged / "manifest.json")
    manifest["decoding"]["max_length"] = 10**9
    write_json(damaged / "manifest.json", manifest)
    with pytest.raises(InputError, match="max_length is 1000000000; expected a whole number"):
        Translator.load(damaged)


def test_vectors_are_no_classes(classifying: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(classifying, tmp_path / "vectors"))
    write_json(folder / "manifest.json", read_json(folder / "manifest.json") | {"task": "sentence-similarity"})
    with pytest.raises(InputError, match="a model for sentence-similarity; expected one for text-classification"):
        Classifier.load(folder).classify(["a"])


def test_inputs_of_like_length_run_together() -> None:
    rows = [[0] * length for length in (5, 1, 4, 2, 3)]
    assert list(by_length(rows, 2)) == [[1, 3], [4, 2], [0]]


def test_it_imports_nothing_of_tprune() -> None:
    folder = Path(tprune_runtime.__file__ or "").parent
    allowed = {"numpy", "onnxruntime", "tokenizers", "sentencepiece", "tprune_runtime", *sys.stdlib_module_names}
    files = list(folder.rglob("*.py"))
    assert len(files) > 15
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= allowed, f"{file.name}: {names}"


def test_it_translates_where_tprune_and_torch_are_not(translating: Path, tmp_path: Path) -> None:
    shutil.copytree(Path(tprune_runtime.__file__ or "").parent, tmp_path / "tprune_runtime")
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "for name in ('tprune', 'torch', 'transformers', 'typer', 'pydantic', 'psutil'): sys.modules[name] = None\n"
        f"from tprune_runtime.__main__ import main; sys.exit(main(['translate', {str(translating)!r}]))"
    )
    command = [sys.executable, "-I", "-c", code]
    text = "".join(f"{line}\n" for line in SENTENCES)
    done = subprocess.run(command, cwd=tmp_path, input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == Translator.load(translating).translate(SENTENCES)
