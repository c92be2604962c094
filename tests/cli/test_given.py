"""Which task a command line is for, and whether its options of data belong to it."""

import json
from pathlib import Path

import pytest

import tprune
from small_texts import classifier, tokenizer
from tprune.cli.given import Given, task_name
from tprune.core.known_tasks import TASKS, writes_sentences
from tprune.core.task import WritesSentences
from tprune.recipe.changes import BUILT_IN, built_in
from tprune.support.errors import InputError
from tprune.tasks.text_classification import TextClassification
from tprune.tasks.translation.task import Translation


def folder(tmp_path: Path, **config: object) -> str:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ({"architectures": ["BertForSequenceClassification"]}, "text-classification"),
        ({"architectures": ["PrunedLlamaForCausalLM"]}, "language-modelling"),
        ({"architectures": ["MarianMTModel"], "is_encoder_decoder": True}, "translation"),
        ({"architectures": ["ViTForImageClassification"]}, "image-classification"),
    ],
)
def test_the_task_is_that_of_the_configuration(tmp_path: Path, config: dict[str, object], task: str) -> None:
    where = folder(tmp_path, **config)
    assert task_name(Given(), where) == task
    assert task_name(Given(task="mine"), where) == "mine"


def test_without_a_model_it_is_the_recipes() -> None:
    assert task_name(Given(), None, "image-classification") == "image-classification"


def test_of_a_hub_id_the_options_say_it_or_nothing_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert task_name(Given(sides={"src": Path("a"), "tgt": Path("b")}), "owner/name") == "translation"
    with pytest.raises(InputError, match="no data: give --train and --valid, for translation --src and --tgt"):
        task_name(Given(), "owner/name")
    with pytest.raises(InputError, match="no data: give --test, for translation --src and --tgt, or --data"):
        task_name(Given(), "owner/name", scores=True)


def test_pairs_are_whole_or_refused() -> None:
    a, b = Path("a"), Path("b")
    found = Given(sides={"src": a, "tgt": b, "test_src": b, "test_tgt": a}).pairs()
    assert found == {"train": (a, b), "test": (b, a)}
    with pytest.raises(InputError, match="--valid-src and --valid-tgt belong together; got a alone"):
        Given(sides={"valid_src": a}).pairs()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Given({"train": (Path("t"),)}, data="set"), "got --train, and --data set"),
        (Given(sides={"src": Path("a"), "tgt": Path("b")}, data="set"), "got --src and --tgt, and --data set"),
        (
            Given(sides={"src": Path("a"), "tgt": Path("b")}, columns="en,de"),
            "got --src and --tgt, and --columns en,de",
        ),
        (Given({"train": (Path("t"),)}, {"src": Path("a"), "tgt": Path("b")}), "got --src and --tgt, and --train"),
    ],
)
def test_data_is_named_in_one_way(given: Given, says: str) -> None:
    with pytest.raises(InputError, match=says):
        given.check_one_source()
    Given({"train": (Path("t"),)}, columns="text,label").check_one_source()


def test_other_tasks_have_no_options_of_translation() -> None:
    with pytest.raises(
        InputError,
        match="--valid-src is for translation, and the model is for text-classification; give --train and --valid",
    ):
        Given(sides={"valid_src": Path("a")}).check_task("text-classification", "train", "valid")
    with pytest.raises(InputError, match=r"no valid data: give --valid$"):
        Given({"train": (Path("t"),)}).check_task("text-classification", "train", "valid")
    Given(sides={"valid_src": Path("a")}).check_task("translation", "train")


class Ratings(TextClassification):
    """Of a plugin, for models of the same classes."""

    name = "ratings"


class Summaries(Translation):
    """Of a plugin, whose models write sentences too."""

    name = "summaries"

    def matches(self, model: object) -> bool:
        return False


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TASKS, "entered", {})
    TASKS.enter("ratings", Ratings())
    TASKS.enter("summaries", Summaries())


@pytest.mark.usefixtures("plugins")
def test_a_plugins_task_that_the_model_fits_comes_before_what_its_class_is_called(tmp_path: Path) -> None:
    where = tprune.save(classifier(), tmp_path / "model", tokenizer())
    assert task_name(Given(), str(where)) == "ratings"
    assert task_name(Given(task="text-classification"), str(where)) == "text-classification"


@pytest.mark.usefixtures("plugins")
def test_sentence_pairs_are_for_all_tasks_that_write_sentences() -> None:
    assert all(writes_sentences(name) == isinstance(task, WritesSentences) for name, task in TASKS.items())
    assert writes_sentences("summaries") and built_in("summaries") == BUILT_IN
    Given(sides={"valid_src": Path("a")}).check_task("summaries", "train")
    with pytest.raises(InputError, match="--valid-src is for translation, and the model is for ratings; give --train"):
        Given(sides={"valid_src": Path("a")}).check_task("ratings", "train")
