"""What a configuration names is what is loaded."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

import tprune
from table_models import kept_by, table_model
from tprune.realise.architectures import ARCHITECTURES
from tprune.realise.checkpoint import load, load_tokenizer, save
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.tasks.translation.encoding import train_tokenizer


def set_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    ("architectures", "says"),
    [
        (None, "names no architecture; expected"),
        ([], "names no architecture"),
        (["BertForNothing"], "architecture 'BertForNothing', which transformers does not know"),
        (["Trainer"], "architecture 'Trainer', which transformers does not know"),
    ],
)
def test_unknown_architectures_are_refused(architectures: Any, says: str, tmp_path: Path) -> None:
    save(table_model("bert").float(), tmp_path / "m")
    set_config(tmp_path / "m", architectures=architectures)
    with pytest.raises(InputError, match=says):
        load(tmp_path / "m")


@pytest.mark.parametrize("changes", [{"architectures": ["PrunedTrainer"]}, {"architectures": ["PrunedBartModel"]}])
def test_names_that_are_not_ours_are_code_of_others(changes: dict[str, Any], tmp_path: Path) -> None:
    model = table_model("bert").float()
    save(shrink(model, kept_by(model, ["ffn"])), tmp_path / "m")
    set_config(tmp_path / "m", **changes)
    with pytest.raises(InputError, match="comes with code of its own"):
        load(tmp_path / "m")


def test_the_tokenizer_of_a_pruned_model_needs_no_remote_code(tmp_path: Path) -> None:
    model = table_model("bert").float()
    words = train_tokenizer(["a cat sat on the mat", "two dogs play in the snow"], vocabulary=40, max_length=24)
    out = save(shrink(model, kept_by(model, ["ffn"])), tmp_path / "m", words)
    assert load_tokenizer(out).get_vocab() == words.get_vocab()
    assert AutoTokenizer.from_pretrained(out).get_vocab() == words.get_vocab()
    assert AutoModel.from_pretrained(out, trust_remote_code=True).encoder.layer[0].intermediate.dense.out_features == 12


def test_a_folder_without_a_tokeniser_is_refused_by_the_names_of_its_files(tmp_path: Path) -> None:
    out = save(table_model("bert").float(), tmp_path / "m")
    with pytest.raises(InputError, match=r"m: no tokeniser here; expected .*tokenizer\.json"):
        load_tokenizer(out)


@pytest.mark.parametrize("name", [3, None, b"m"])
def test_what_is_no_name_of_a_model_is_refused(name: Any) -> None:
    with pytest.raises(InputError, match=re.escape(f"a model named by {name!r}; expected a model's directory")):
        tprune.load(name)


def test_the_path_of_a_file_is_refused(tmp_path: Path) -> None:
    out = save(table_model("bert").float(), tmp_path / "m")
    with pytest.raises(InputError, match=r"model\.safetensors: is a file; expected the directory"):
        tprune.load(out / "model.safetensors")


def test_a_class_that_was_entered_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ARCHITECTURES, "entered", {})
    model = table_model("resnet").float()
    out = save(model, tmp_path / "m")
    with pytest.raises(InputError, match=re.escape('ARCHITECTURES.enter("ResNet", "my_module:ResNet")')):
        load(out)
    for entered in (type(model), "benchmarks.other_tasks.resnet:ResNet"):
        ARCHITECTURES.enter("ResNet", entered)
        again = load(out)
        assert type(again) is type(model)
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))
