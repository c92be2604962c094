"""A model, its settings and its tokeniser belong together, or it is said."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any, ClassVar

import pytest

from small_models import small_model
from tprune.cli.verbs.inspect import inspect
from tprune.data.parallel import Parallel
from tprune.realise.belonging import check_tokenizer, differences
from tprune.realise.checkpoint import load, load_tokenizer, save
from tprune.recipe.schema import Prune, Recover
from tprune.run.one_call import compress
from tprune.runtimes.export import export
from tprune.support.errors import InputError, TpruneWarning
from tprune.tasks.translation.encoding import train_tokenizer

SENTENCES = ["a cat sat on the mat", "two dogs play in the snow"]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = train_tokenizer(SENTENCES, 40, 32)
    model = small_model(
        "marian", vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id
    )
    return save(model.float(), tmp_path_factory.mktemp("made") / "m", tokenizer)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "m"))


def change(file: Path, **values: Any) -> None:
    content = json.loads(file.read_text()) | values
    file.write_text(json.dumps({key: value for key, value in content.items() if value != "gone"}))


def test_what_belongs_together_is_not_remarked_upon(made: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", TpruneWarning)
        check_tokenizer(load_tokenizer(made), load(made).config, "these")


def test_a_tokeniser_with_more_tokens_is_refused_by_every_door(folder: Path, tmp_path: Path) -> None:
    model, tokenizer = load(folder), load_tokenizer(folder)
    size = len(tokenizer)
    tokenizer.add_tokens(["horse", "bird"])
    says = rf"the tokeniser has {size + 2} tokens, the model knows {size}; .*resize_token_embeddings"
    pairs = Parallel(tuple(SENTENCES), tuple(SENTENCES))
    with pytest.raises(InputError, match=says):
        export(model, tokenizer, tmp_path / "onnx", SENTENCES)
    with pytest.raises(InputError, match=says):
        compress(model, tokenizer, pairs, pairs, prune=Prune(steps=0, macs=0.5), recover=Recover(steps=0))
    tokenizer.save_pretrained(folder)
    with pytest.raises(InputError, match=says):
        load_tokenizer(folder)
    with pytest.raises(InputError, match=says):
        inspect(str(folder))
    model.resize_token_embeddings(len(tokenizer))  # the remedy
    assert len(load_tokenizer(save(model, tmp_path / "mended", tokenizer))) == size + 2


def test_sides_with_vocabularies_of_their_own() -> None:
    class Apart:
        separate_vocabs, pad_token_id, eos_token_id = True, 0, 1
        target_encoder: ClassVar = {"a": 0, "b": 32}

        def get_vocab(self) -> dict[str, int]:
            return {"x": 39}

    config = small_model("marian_untied").config
    check_tokenizer(Apart(), config, "m")
    Apart.target_encoder = {"b": 33}
    with pytest.raises(InputError, match="m: the tokeniser has 34 target tokens, the model knows 33"):
        check_tokenizer(Apart(), config, "m")


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "pad_token_id", 5000),
        ("config.json", "eos_token_id", -1),
        ("config.json", "decoder_start_token_id", 5000),
        ("generation_config.json", "pad_token_id", 5000),
        ("generation_config.json", "eos_token_id", [1, 5000]),
        ("generation_config.json", "bad_words_ids", [[3, 5000]]),
        ("generation_config.json", "suppress_tokens", [5000]),
        ("generation_config.json", "forced_bos_token_id", "de"),
    ],
)
def test_tokens_that_there_are_not(file: str, key: str, value: Any, folder: Path) -> None:
    change(folder / file, **{key: value})
    with pytest.raises(
        InputError, match=rf"{file}: {key} is .*; expected token ids below \d\d, the size of the vocabulary"
    ):
        load(folder)


def test_what_counts_for_nothing_may_be_wrong(folder: Path) -> None:
    """Old configurations hold settings of `generate`, which a generation_config.json beside them replaces."""
    change(folder / "config.json", bad_words_ids=[[5000]])
    with pytest.warns(TpruneWarning, match="counts for nothing"):
        load(folder)
    (folder / "generation_config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json: bad_words_ids"):
        load(folder)


@pytest.mark.parametrize(
    ("config", "generation", "says"),
    [
        (
            {"decoder_start_token_id": 3},
            {},
            "decoder_start_token_id 3, which training reads, and generation_config.json 0",
        ),
        ({"max_length": 512}, {}, "max_length 512, which counts for nothing .*where it is missing"),
        ({"num_beams": 6}, {"num_beams": 2}, "num_beams 6, which counts for nothing .*which says 2"),
        ({}, {"decoder_start_token_id": "gone"}, "decoder_start_token_id 0, which counts for nothing .*missing"),
    ],
)
def test_values_in_one_of_two_configurations(config: Any, generation: Any, says: str, folder: Path) -> None:
    change(folder / "config.json", **config)
    change(folder / "generation_config.json", **generation)
    with pytest.warns(TpruneWarning, match=f"{folder}: config.json says {says}"):
        load(folder)


def test_defaults_of_older_libraries_are_not_remarked_upon() -> None:
    assert list(differences({"num_beams": 1, "max_length": 20, "length_penalty": 1.0}, {"pad_token_id": 0})) == []
    assert list(differences({"num_beams": 4, "eos_token_id": 1}, {"num_beams": 4, "eos_token_id": 1})) == []


def test_a_tokeniser_with_another_end(folder: Path) -> None:
    change(folder / "config.json", eos_token_id=7)
    with pytest.warns(
        TpruneWarning, match=r"the tokeniser's eos_token_id is \d, the model's 7; do they belong together"
    ):
        load_tokenizer(folder)
