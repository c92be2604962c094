"""Each task from files to scores: what labels mean, what is cut or split, what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.other_tasks.resnet import ResNet
from small_pairs import PAIRS
from small_tasks import TEXTS, classifier, image_classification, pictures, translation, words
from table_models import table_model
from tprune.data.image_processor import ImageProcessor
from tprune.data.images import LabeledImages
from tprune.data.read_images import read_images
from tprune.data.texts import LabeledTexts, Texts, TokenSequences
from tprune.support.errors import InputError
from tprune.support.files import write_json
from tprune.tasks.class_names import classes_of
from tprune.tasks.image_classification import IMAGE_CLASSIFICATION
from tprune.tasks.language_modelling import LANGUAGE_MODELLING, LanguageModelling
from tprune.tasks.sampling import sampled_sequences
from tprune.tasks.scoring import scores
from tprune.tasks.text_classification import TEXT_CLASSIFICATION
from tprune.tasks.translation.task import TRANSLATION

NAMES = {"bad": 0, "good": 1, "fair": 2}


def labelled(*labels: str) -> LabeledTexts:
    places = tuple(f"a.tsv: row {i + 1}" for i in range(len(labels)))
    return LabeledTexts(tuple("abcdefg"[: len(labels)]), labels, "a.tsv", places)


def named(names: dict[str, int]) -> Any:
    return classifier(label2id=names, id2label={number: name for name, number in names.items()})


def test_labels_are_those_of_the_configuration() -> None:
    found = classes_of(labelled("good", "bad"), named(NAMES))
    assert found.numbers == (1, 0) and found.names[2] == "fair"
    assert classes_of(labelled("2", "0"), named(NAMES)) == found.__class__((2, 0), {0: "bad", 1: "good", 2: "fair"})
    with pytest.raises(InputError, match=r"^a.tsv: row 2: no class 'ugly'; the model's are bad, good, fair$"):
        classes_of(labelled("good", "ugly"), named(NAMES))


def test_labels_without_names_in_the_configuration() -> None:
    found = classes_of(labelled("good", "bad", "fair", "bad"), classifier())
    assert found.numbers == (2, 0, 1, 0) and found.names == {0: "bad", 1: "fair", 2: "good"}
    assert classes_of(labelled("2", "0"), classifier()).numbers == (2, 0)
    assert classes_of(labelled("LABEL_2"), classifier()).numbers == (2,)
    with pytest.raises(InputError, match=r"a\.tsv: row 2: class 3; the model has 3, from 0"):
        classes_of(labelled("0", "3"), classifier())
    with pytest.raises(InputError, match=r"a.tsv: 2 classes \(bad, good\), and the model has 3 outputs without names"):
        classes_of(labelled("good", "bad"), classifier())
    assert classes_of(labelled("x", "b"), ResNet(1, 4)).numbers == (1, 0)  # no configuration at all


def test_texts_from_a_file_to_a_score(tmp_path: Path) -> None:
    rows = "".join(f"{text}\t{label}\n" for text, label in zip(TEXTS, ("good", "bad") * 3, strict=True))
    (tmp_path / "t.tsv").write_text(f"sentence\tlabel\n{rows}")
    model = named(NAMES)
    words().save_pretrained(tmp_path / "model")
    data = TEXT_CLASSIFICATION.read(str(tmp_path / "t.tsv"))
    examples = TEXT_CLASSIFICATION.encode(data, TEXT_CLASSIFICATION.processor(tmp_path / "model"), model)
    predicted = TEXT_CLASSIFICATION.predict(model, examples)
    (found,) = scores(TEXT_CLASSIFICATION, predicted, examples)
    expected = [model(torch.tensor([row])).logits.argmax().item() for row in examples.texts]
    assert found.value == pytest.approx(100 * np.mean(np.array(expected) == examples.classes), abs=1e-3)
    shown = TEXT_CLASSIFICATION.shown(predicted, examples, 1)
    assert shown.input == TEXTS[1] and shown.reference == "bad" and shown.prediction in NAMES
    with pytest.raises(InputError, match="none: no such directory"):
        TEXT_CLASSIFICATION.processor(tmp_path / "none")


def test_a_model_that_was_training_goes_on_training() -> None:
    known = image_classification()
    known.model.train()
    examples = known.task.encode(known.data, known.processor, known.model)
    before = {name: value.clone() for name, value in known.model.state_dict().items()}
    known.task.predict(known.model, examples)
    assert known.model.training and all(torch.equal(before[k], v) for k, v in known.model.state_dict().items())


def test_long_texts_are_split_for_a_language_model() -> None:
    task, model = LanguageModelling(window=4), table_model("llama")
    data = TokenSequences(((1, 5, 6, 7, 8, 9), (3,), (1, 2, 3, 4, 5), (1, 4)), "ids")
    found = task.encode(data, None, model)
    assert found.texts == ([1, 5, 6, 7], [8, 9], [1, 2, 3, 4], [1, 4])  # the 5 alone predicts nothing
    assert found.notes == (
        "ids: 2 of 4 texts have more than 4 tokens and are split",
        "ids: 1 of 4 texts of a single token are left out",
    )
    with pytest.raises(InputError, match="ids: item 2 has the token id 40; the model's are 0 to 39"):
        task.encode(TokenSequences(((1, 2), (1, 40)), "ids"), None, model)
    with pytest.raises(InputError, match="no text of at least 2 tokens"):
        task.encode(TokenSequences(((1,),), "ids"), None, model)
    with pytest.raises(InputError, match="texts, and the model has no tokeniser; expected JSONL with `input_ids`"):
        task.encode(Texts(("a b",)), None, model)


def test_a_language_model_may_have_no_tokeniser(tmp_path: Path) -> None:
    assert LANGUAGE_MODELLING.processor(tmp_path) is None
    words().save_pretrained(tmp_path)
    assert LANGUAGE_MODELLING.processor(tmp_path)(["a cat"]).input_ids == words()(["a cat"]).input_ids
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match="no tokeniser can be loaded"):
        LANGUAGE_MODELLING.processor(tmp_path)


def test_sampled_sequences_are_what_the_model_likes() -> None:
    model = table_model("llama").float().train()
    found = sampled_sequences(model, 70, 6, seed=3)
    assert len(found) == 70 and {len(row) for row in found.ids} == {6} and {row[0] for row in found.ids} == {1}
    assert found.ids == sampled_sequences(model, 70, 6, seed=3).ids != sampled_sequences(model, 70, 6, seed=4).ids
    assert model.training
    task, chance = LANGUAGE_MODELLING, np.random.default_rng(0)
    other = TokenSequences(tuple((1, *chance.integers(0, 40, 5).tolist()) for _ in range(70)))
    mine, random = (task.encode(data, None, model) for data in (found, other))
    values = [scores(task, task.predict(model, each), each)[0] for each in (mine, random)]
    assert values[0].high < values[1].low
    frequencies = scores(task, task.baselines(mine, mine)["token frequencies"], mine)[0]
    assert values[0].value < frequencies.value < 41
    for count, length in ((0, 5), (3, 1), (3, 31)):
        with pytest.raises(InputError, match="expected at least 1, of 2 to 30 tokens"):
            sampled_sequences(model, count, length)


def test_sampling_follows_the_probabilities() -> None:
    class Fixed(torch.nn.Module):
        """Token 2 after 1 with probability 3/4, else 3."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.config = SimpleNamespace(max_position_embeddings=8, bos_token_id=1)

        def forward(self, input_ids: Any, **_: Any) -> Any:
            logits = torch.tensor([-1e9, -1e9, np.log(0.75), np.log(0.25)])
            return SimpleNamespace(logits=logits.expand(len(input_ids), 1, 4), past_key_values=None)

    drawn = np.array(sampled_sequences(Fixed(), 400, 3).ids)[:, 1:]
    assert (drawn == 2).mean() == pytest.approx(0.75, abs=0.05) and set(drawn.ravel()) == {2, 3}


def test_images_from_a_folder_to_a_score(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    from PIL import Image

    data = pictures()
    for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        (tmp_path / label).mkdir(exist_ok=True)
        Image.fromarray(np.asarray(image)).save(tmp_path / label / f"{number}.png")
    known = image_classification()
    known.processor.save_pretrained(tmp_path)
    read = IMAGE_CLASSIFICATION.read(tmp_path)
    examples = IMAGE_CLASSIFICATION.encode(read, IMAGE_CLASSIFICATION.processor(tmp_path), known.model)
    assert examples.classes == (0, 0, 1, 1, 2, 2) and examples.pixels.dtype == torch.uint8
    direct = known.task.encode(data.picked([0, 3, 1, 4, 2, 5]), known.processor, known.model)
    batches = [IMAGE_CLASSIFICATION.collate([each[i] for i in range(6)], 0) for each in (examples, direct)]
    torch.testing.assert_close(batches[0]["pixel_values"], batches[1]["pixel_values"])
    predicted = IMAGE_CLASSIFICATION.predict(known.model, examples)
    assert IMAGE_CLASSIFICATION.shown(predicted, examples, 2)[:2] == (f"{tmp_path}/class 1/1.png", "class 1")


def test_images_that_do_not_fit_are_refused() -> None:
    pytest.importorskip("PIL")
    known = image_classification()
    sizes = LabeledImages((np.zeros((8, 8, 3), np.uint8), np.zeros((8, 6, 3), np.uint8)), ("a", "b"), "odd")
    with pytest.raises(
        InputError, match="odd: item 2: 8 x 6 pixels, the first image has 8 x 8; set do_resize and size"
    ):
        IMAGE_CLASSIFICATION.encode(sizes, known.processor, known.model)
    with pytest.raises(
        InputError, match=r"ResNet takes images of 3 channels, .* makes images of 1 .* with 3 numbers each"
    ):
        IMAGE_CLASSIFICATION.encode(pictures(), ImageProcessor((0.5,), (0.5,)), known.model)
    with pytest.raises(InputError, match="image-classification: Texts; expected LabeledImages"):
        IMAGE_CLASSIFICATION.encode(Texts(("a",)), known.processor, known.model)  # type: ignore[arg-type]


def test_pairs_from_files_and_tables(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("a\nb\n")
    (tmp_path / "a.de").write_text("x\ny\n")
    (tmp_path / "t.jsonl").write_text(json.dumps({"en": "c", "de": "z"}) + "\n")
    files = [tmp_path / "a.en", tmp_path / "a.de"]
    assert TRANSLATION.read(files * 2).source == ("a", "b", "a", "b")
    table = TRANSLATION.read(tmp_path / "t.jsonl", ["en", "de"])
    assert table[0] == ("c", "z") and table.name == "t.jsonl"
    with pytest.raises(InputError, match="a table; name the columns"):
        TRANSLATION.read(tmp_path / "t.jsonl")
    with pytest.raises(InputError, match="1 files; expected one of sentences and one of translations"):
        TRANSLATION.read(files[:1])


def test_translations_of_a_module_and_of_what_is_exported() -> None:
    known = translation()
    examples: Any = known.task.encode(known.data, known.processor, known.model)
    found = known.task.predict(known.model, examples, 0)
    ids = known.processor([PAIRS.source[2]], return_tensors="pt").input_ids
    alone = known.model.generate(ids, num_beams=1, do_sample=False)[0]
    assert found.rows[2] == known.processor.decode(alone.tolist(), skip_special_tokens=True)

    class Exported:
        def translated(self, sentences: Any, beams: int | None = None, batch: int = 8) -> Any:
            assert beams == 1 and tuple(sentences) == PAIRS.source[:6]
            return SimpleNamespace(texts=list(PAIRS.target[:6]), share=0.5, limit=15)

    right = known.task.predict(Exported(), examples)
    assert right.facts == {"at_limit": 0.5, "limit": 15}
    chrf = scores(known.task, right, examples)[1]
    assert chrf.value == 100 and not known.task.baselines(examples, examples)
    with pytest.raises(InputError, match="list translates nothing"):
        known.task.predict([], examples)
    with pytest.raises(InputError, match="encoded without their texts"):
        known.task.predict(known.model, type(examples)(examples.source, examples.target))


@pytest.mark.slow
@pytest.mark.skipif(not (os.environ.get("TPRUNE_DATA") and os.environ.get("TPRUNE_MODELS")), reason="no real data")
def test_a_real_resnet_on_real_images(tmp_path: Path) -> None:
    """The accuracy that the model's source gives for the first 300 images of each class: 81.0 %."""
    model = ResNet(3, 16)
    model.load_state_dict(load_file(Path(os.environ["TPRUNE_MODELS"], "resnet_cifar10/resnet20.safetensors")))
    settings = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    write_json(tmp_path / "preprocessor_config.json", settings)
    test = read_images(Path(os.environ["TPRUNE_DATA"], "cifar10_jpeg/test.tar.xz"))
    first = test.picked([1000 * label + i for label in range(10) for i in range(300)])
    examples = IMAGE_CLASSIFICATION.encode(first, IMAGE_CLASSIFICATION.processor(tmp_path), model)
    (found,) = scores(IMAGE_CLASSIFICATION, IMAGE_CLASSIFICATION.predict(model, examples), examples)
    assert found.value == pytest.approx(81.0, abs=0.1) and found.count == 3000
