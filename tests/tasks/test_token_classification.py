"""Tags of words: entities as conlleval counts them, words and their first tokens, and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from small_tasks import TAGGED, tagger, words
from tprune.core.known_tasks import task_of, task_of_config
from tprune.core.labels import IGNORED
from tprune.core.task import Predictions
from tprune.data.tagged import TaggedTexts
from tprune.support.errors import InputError, OptionError
from tprune.tasks.metrics.entities import entities, entity_f1
from tprune.tasks.scoring import scores
from tprune.tasks.token_classification import TokenClassification

TASK = TokenClassification()


def test_a_model_says_its_task() -> None:
    assert task_of(tagger()) == TASK
    assert task_of_config({"architectures": ["BertForTokenClassification"]}) == "token-classification"
    with pytest.raises(InputError, match="is for token-classification; expected a model for text-classification"):
        task_of(tagger(), "text-classification")


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-A I-A O", [("A", 0, 2)]),
        ("I-A I-A", [("A", 0, 2)]),  # a lone I begins one
        ("B-A B-A", [("A", 0, 1), ("A", 1, 2)]),
        ("B-A I-B", [("A", 0, 1), ("B", 1, 2)]),  # another type begins one
        ("O O", []),
        ("B-A E-A I-A S-B", [("A", 0, 2), ("A", 2, 3), ("B", 3, 4)]),
        ("B-A-B I-A-B", [("A-B", 0, 2)]),
    ],
)
def test_entities_are_those_of_conlleval(tags: str, found: list[Any]) -> None:
    assert [tuple(each) for each in entities(tags.split())] == found


def test_f1_is_of_all_texts_together() -> None:
    """Two of three predicted entities are right, of four: 4/7; a type or an end that is wrong is no entity."""
    expected = [["B-A", "I-A", "O", "B-B"], ["B-A", "O", "B-B"]]
    predicted = [["B-A", "I-A", "O", "B-A"], ["B-A", "O", "O"]]
    found = entity_f1(predicted, expected)
    assert found.rows.tolist() == [[1, 2, 2], [1, 1, 2]]
    assert found.value(found.rows.sum(0)) == pytest.approx(400 / 7)
    with pytest.raises(InputError, match="a tag for each word"):
        entity_f1([["O"]], [["O", "O"]])


def test_only_the_first_token_of_a_word_says_its_class() -> None:
    tokenizer = words()
    data = TaggedTexts((("cat", "zebra", "sat"), ("dog",)), (("B-X", "O", "I-X"), ("O",)), "toy")
    examples = TASK.encode(data, tokenizer, tagger())
    pieces = [len(tokenizer([word]).input_ids[0]) - 1 for word in data.tokens[0]]
    assert pieces[1] > 1 and examples.names == {0: "O", 1: "B-X", 2: "I-X"}
    found, at = examples.classes[0], 0
    for count, expected in zip(pieces, (1, 0, 2), strict=True):
        assert found[at : at + count] == [expected, *[IGNORED] * (count - 1)]
        at += count
    assert found[at:] == [IGNORED] and examples.tags(0) == [1, 0, 2]


def test_long_texts_are_cut_and_counted() -> None:
    examples = TokenClassification(longest=4).encode(TAGGED, words(), tagger())
    assert max(examples.lengths) == 4 and "texts are cut to 4 tokens" in examples.notes[0]
    unread = sum(map(len, TAGGED.tokens)) - sum(len(examples.tags(i)) for i in range(len(examples)))
    assert unread and examples.notes[1].startswith(f"{TAGGED.name}: {unread} of ")


def test_scores_are_f1_of_entities_and_accuracy() -> None:
    examples = TASK.encode(TAGGED, words(), tagger())
    right = Predictions(np.full((len(examples), 512), -1.0))
    for index, row in enumerate(right.rows):
        row[: len(examples.tags(index))] = examples.tags(index)
    f1, accuracy = scores(TASK, right, examples)
    assert (f1.metric.name, f1.value, accuracy.metric.name, accuracy.value) == ("entity F1", 100, "token accuracy", 100)
    assert "conlleval" in f1.signature
    (baseline,) = TASK.baselines(examples, examples).values()
    majority = scores(TASK, baseline, examples)
    assert majority[0].value == 0 and 0 < majority[1].value < 100
    right.rows[2, 0] = np.nan
    with pytest.raises(InputError, match="example 3 is not finite"):
        scores(TASK, right, examples)


def test_tags_that_mark_no_entities_are_scored_by_accuracy() -> None:
    data = TaggedTexts((("a", "cat"), ("dog",)) * 2, (("DET", "NOUN"), ("NOUN",)) * 2)
    examples = TASK.encode(data, words(), tagger(names=("DET", "NOUN")))
    (score,) = scores(TASK, TASK.predict(tagger(names=("DET", "NOUN")), examples), examples)
    assert score.metric.name == "token accuracy"


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    def written(name: str, content: str) -> Path:
        (tmp_path / name).write_text(content)
        return tmp_path / name

    good = written("a.conll", "-DOCSTART- -X- O\n\nin IN O\nRome NNP B-X\n\nOslo NNP B-X\n")
    data = TASK.read([good, good])
    assert data.tokens[:2] == (("in", "Rome"), ("Oslo",)) and data.place(1) == f"{good}: line 6" and len(data) == 4
    objects = written("a.jsonl", '{"words": ["in", "Rome"], "ner_tags": [0, 1]}\n')
    assert TASK.read(objects).tags == (("0", "1"),)
    for path, says in (
        (written("b.conll", "in O\nRome\n"), r"b.conll: line 2 has 'Rome' alone; expected a word and its tag"),
        (written("c.conll", "in O\nRome NNP B-X\n"), "line 2 has 3 columns; the first line has 2"),
        (written("d.conll", "\n\n"), "no words"),
        (written("e.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}\n'), "e.jsonl: row 1: 2 tokens and 1 tags"),
        (written("f.jsonl", '{"tokens": ["a"], "tags": [""]}\n'), "number 1 in 'tags' is ''; expected names or"),
        (written("g.jsonl", '{"text": "a", "tags": []}\n'), "no key tokens or words; there are 'text', 'tags'"),
        (written("h.csv", "tokens,tags\na,O\n"), "h.csv: a table of fields; expected JSON lines"),
        (written("i.jsonl", '{"tokens": "a", "tags": ["O"]}\n'), "has a str in 'tokens'; expected a list of words"),
    ):
        with pytest.raises(InputError, match=says):
            TASK.read(path)
    with pytest.raises(OptionError, match="expected two, such as tokens,tags"):
        TASK.read(objects, ["tokens"])
    odd = TASK.read(written("j.conll", "in O\nOslo B-Y\n"))
    with pytest.raises(InputError, match=r"j.conll: line 1, word 2 \('Oslo'\): no class 'B-Y'; the model's are O, B-X"):
        TASK.encode(odd, words(), tagger())
    with pytest.raises(InputError, match=r"row 1, word 2 \('Rome'\): class 7; the model has 3, from 0"):
        TASK.encode(TASK.read(written("k.jsonl", '{"tokens": ["in", "Rome"], "tags": [0, 7]}\n')), words(), tagger())
    with pytest.raises(InputError, match="does not say which tokens are of which word"):
        TASK.encode(TAGGED, lambda texts, **_: None, tagger())
