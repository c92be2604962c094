"""Short names of models and sentences, from files, data sets, recipes and the demo."""

import json
from pathlib import Path
from typing import Any

import pytest

from tprune.data.parallel import Corpus, Parallel, read_corpus
from tprune.data.synthetic.grammar import corpus
from tprune.recipe.reader import check_recipe
from tprune.recipe.schema import Data, Model, Recipe
from tprune.report.names import data_name, model_name, names_of, trained_name
from tprune.run.folder import Run, check_identity
from tprune.support.reporting import Progress

PAIRS = Parallel(("a",), ("b",))


def recipe(**data: Any) -> Recipe:
    return check_recipe(
        {"data": data, "train": {"steps": 1}, "prune": {"steps": 0, "macs": 0.5}, "recover": {"steps": 1}}
    )


def test_files_are_named_without_their_folder_and_those_of_a_recipe_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "multi30k"
    folder.mkdir()
    for name in ("a.en", "a.de", "b.en", "b.de"):
        (folder / name).write_text("x\n")
    pair = (folder / "a.en", folder / "a.de")
    found = read_corpus({"train": [pair], "valid": [pair], "test": [pair, (folder / "b.en", folder / "b.de")]})
    assert names_of(recipe(), found, str(tmp_path / "marian")) == {
        "model": "marian",
        "train": "a.en/a.de",
        "valid": "a.en/a.de",
        "test": "a.en/a.de, b.en/b.de",
    }
    assert data_name(found.train, Data(files={"train": [("a.en", "a.de")]})) == "multi30k (a.en/a.de)"
    several = read_corpus({"train": [pair, pair], "valid": [pair], "test": [pair]})
    assert data_name(several.train, Data()) == "a.en+a.en"


def test_a_data_set_has_its_own_name_and_the_demo_says_what_it_is() -> None:
    assert data_name(Parallel(("a",), ("b",), "bentrevett/multi30k, train"), Data()) == "multi30k"
    found = names_of(recipe(grammar=True), corpus(0, 20, 2, 2), None)
    assert set(found.values()) == {"generated sentences", "Marian (3+3 layers, width 256)"}
    assert trained_name(Model(d_model=128, layers=(2, 1))) == "Marian (2+1 layers, width 128)"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("models/opus", "opus"),
        ("Helsinki-NLP/opus-mt-en-de", "opus-mt-en-de"),
        ("runs/demo/dense", "demo/dense"),
        ("/", "/"),
        ("a/b/..", "a"),
    ],
)
def test_a_model_has_its_last_name(given: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_name(given) == name
    assert model_name(".") == tmp_path.name


def test_a_run_stores_its_names_and_may_be_resumed_under_others(run_with_names: Run) -> None:
    check_identity(run_with_names)
    marker = run_with_names.out / "run.json"
    first = json.loads(marker.read_text())
    assert first["names"]["train"] == "corpus" and first["names"]["model"] == "Marian (3+3 layers, width 256)"
    marker.write_text(json.dumps({**first, "names": {**first["names"], "train": "moved"}}))
    check_identity(run_with_names)
    assert json.loads(marker.read_text()) == first


@pytest.fixture
def run_with_names(tmp_path: Path) -> Run:
    """A run that has not begun."""
    return Run(tmp_path, recipe(), Corpus(PAIRS, PAIRS, {"t": PAIRS}), None, "tprune run", Progress({}))
