"""Models that do not translate go the same road by the same verbs: a BERT classifier, a grouped-query Llama, a ResNet
of no library.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from table_models import table_model
from tprune.analysis import Analysis
from tprune.realise.architectures import ARCHITECTURES, entered_class
from tprune.realise.checkpoint import save
from tprune.support.errors import InputError

Call = Callable[..., tuple[int, str, str]]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz"]
PLUGIN = """
from tprune.realise.architectures import ARCHITECTURES
ARCHITECTURES.enter("ResNet", "benchmarks.other_tasks.resnet:ResNet")
"""


@dataclass(frozen=True)
class Subject:
    model: Path
    data: Path
    plugin: tuple[str, ...]
    task: str
    metric: str
    kind: str


def tokenizer() -> PreTrainedTokenizerFast:
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def text(number: int) -> str:
    return f"{'abcdefgh'[number % 8]} b {'xyzuv'[number % 5]}"


def bert(folder: Path) -> Subject:
    rows = "".join(f"{text(i)},{i % 3}\n" for i in range(60))
    (folder / "b.csv").write_text("text,label\n" + rows)
    model = save(table_model("bert-classifier").float(), folder / "bert", tokenizer())
    return Subject(model, folder / "b.csv", (), "text-classification", "accuracy", "ffn")


def llama(folder: Path) -> Subject:
    (folder / "l.txt").write_text("".join(f"{text(i)} a b c\n" for i in range(60)))
    model = save(table_model("llama").float(), folder / "llama", tokenizer())
    return Subject(model, folder / "l.txt", (), "language-modelling", "perplexity", "ffn")


def resnet(folder: Path) -> Subject:
    for number in range(6):
        image = folder / "images" / str(number % 3) / f"{number}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(image)
    model = save(table_model("resnet").float(), folder / "resnet")
    (model / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}')
    (folder / "plugin_of_resnet.py").write_text(PLUGIN)
    plugin = ("--plugin", "plugin_of_resnet")
    return Subject(model, folder / "images", plugin, "image-classification", "accuracy", "channels")


@pytest.fixture(params=[bert, llama, resnet], ids=lambda make: make.__name__)
def subject(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Subject]:
    monkeypatch.setattr(ARCHITECTURES, "entered", {})
    yield request.param(tmp_path)
    sys.modules.pop("plugin_of_resnet", None)


def test_inspect_names_the_task_and_its_example(tprune: Call, subject: Subject) -> None:
    code, out, notes = tprune("inspect", subject.model, "--kind", subject.kind, "--json", *subject.plugin)
    assert code == 0, notes
    found = json.loads(out)
    assert found["task"] == subject.task and found["couplings"] and "labels" in found["example"]
    code, out, _ = tprune("inspect", subject.model, "--kind", subject.kind, *subject.plugin)
    assert f"for an example of {subject.task} (" in out


@pytest.mark.slow
def test_inspect_checks_the_table(tprune: Call, subject: Subject) -> None:
    code, out, notes = tprune("inspect", subject.model, "--kind", subject.kind, "--check", *subject.plugin)
    assert code == 0 and f"masked and shrunk agree, also after saving and loading, for: {subject.kind}" in out, notes


def test_a_checkpoint_is_scored_beside_baselines(tprune: Call, subject: Subject) -> None:
    code, out, notes = tprune("evaluate", subject.model, "--test", subject.data, "--json", *subject.plugin)
    assert code == 0, notes
    found = json.loads(out)
    score, *_ = found["scores"][str(subject.model)]
    assert score["metric"]["name"] == subject.metric and score["low"] <= score["value"] <= score["high"]
    assert found["paired"] is None and len(found["baselines"]) == 1
    assert next(iter(found["baselines"])).endswith(" of the test data")


@pytest.mark.slow
def test_an_exported_folder_scores_as_its_checkpoint_does(tprune: Call, subject: Subject) -> None:
    for _ in range(2):  # an older export is replaced
        code, _, notes = tprune("export", subject.model, "--out", "exported", *subject.plugin)
        assert code == 0, notes
    against = ("--against", subject.model, "--train", subject.data)
    code, out, notes = tprune("evaluate", "exported", "--test", subject.data, *against, *subject.plugin)
    assert code == 0 and f"exported against {subject.model}: {subject.metric} " in out, notes
    assert "baseline: " in out and "of the test data" not in out
    code, out, notes = tprune("evaluate", "exported", "--test", subject.data, *against, "--json", *subject.plugin)
    assert json.loads(out)["paired"]["delta"] == pytest.approx(0, abs=0.01), notes
    code, out, notes = tprune("bench", "exported", "exported", "--rounds", 4)
    assert code == 0 and "multiplications of an input" in out, notes


def test_options_of_translation_are_refused_with_the_right_ones(tprune: Call, subject: Subject) -> None:
    prune = ("prune", subject.model, "--macs", 0.5, "--out", "run", *subject.plugin)
    data = ("--train", subject.data, "--valid", subject.data)
    for line, says in (
        (
            (*prune, "--src", "s", "--tgt", "t"),
            f"--src is for translation, and the model is for {subject.task}; give --train and --valid",
        ),
        ((*prune, "--data", "owner/name"), "--data is for translation"),
        ((*prune, *data[:2]), "no valid data: give --valid"),
        ((*prune, *data, "--trim-vocab", "train"), "--trim-vocab train is for translation"),
        (
            ("evaluate", subject.model, "--test", subject.data, "--beam", 2, *subject.plugin),
            "--beam is for translation",
        ),
        ((*prune, *data, "--columns", "a,b,c"), "--columns a,b,c"),
        (("evaluate", subject.model, "--test", subject.data, "--columns", "a,b,c", *subject.plugin), "--columns a"),
        (("evaluate", subject.model, "--test", "absent", *subject.plugin), "absent"),
    ):
        code, _, notes = tprune(*line)
        assert (
            code == (1 if says.startswith(("absent", "no ")) else 2) and says in notes and not Path("run").exists()
        ), (line, notes)


def test_an_analysis_presses_on_the_lines_of_all_linear_maps(tprune: Call, subject: Subject) -> None:
    """A network whose blocks have convolutions alone has none, which is said before anything is trained."""
    data = ("--train", subject.data, "--valid", subject.data)
    code, out, notes = tprune("analyze", subject.model, *data, "--steps", 5, "--out", "found", *subject.plugin)
    if subject.kind == "channels":
        assert code == 1 and "ResNet has no linear maps inside its blocks" in notes and not Path("found").exists()
        return
    assert code == 0 and "encoder 0 ffn" in out.replace("decoder", "encoder"), notes
    found = Analysis.load(Path("found/analysis.json"))
    maps = {"text-classification": 3 * 6, "language-modelling": 3 * 7}[subject.task]
    assert len({c.matrix for c in found.lines}) == maps and len(found.lines) == 2 * maps and len(found.path) == 5
    assert {"lines", "ffn", "heads"} <= {c.kind for c in found.components}
    assert Path("found/analysis.html").exists()


@pytest.mark.slow
def test_prune_to_report(tprune: Call, subject: Subject) -> None:
    data = ("--train", subject.data, "--valid", subject.data)
    line = ("prune", subject.model, "--macs", 0.8, "--one-shot", "--out", "run", "--kind", subject.kind)
    code, out, notes = tprune(*line, *data, *subject.plugin, "--set", "bench.rounds=4")
    assert code == 0 and Path("run/report.html").exists(), notes
    code, out, notes = tprune("evaluate", "run", "--test", subject.data, *subject.plugin)
    assert code == 0 and "run/onnx/pruned against run/onnx/dense: " in out, notes
    code, _, notes = tprune("report", "run")
    assert code == 0, notes


def test_a_class_that_nobody_entered_is_asked_for(
    tprune: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ARCHITECTURES, "entered", {})
    model = resnet(tmp_path).model
    code, _, notes = tprune("inspect", model)
    assert code == 1 and 'ARCHITECTURES.enter("ResNet", "my_module:ResNet")' in notes and "--plugin" in notes


def test_what_is_entered_must_be_a_class_or_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ARCHITECTURES, "entered", {})
    for odd in ("ResNet", 3, "module:", ":Class"):
        with pytest.raises(InputError, match=r"architecture 'ResNet' cannot be entered: .*such as my_module:ResNet"):
            ARCHITECTURES.enter("ResNet", odd)  # type: ignore[arg-type]
    ARCHITECTURES.enter("ResNet", "no_such_module:ResNet")
    with pytest.raises(InputError, match="entered as 'no_such_module:ResNet', which cannot be imported"):
        entered_class({"architectures": ["ResNet"]})
