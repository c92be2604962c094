"""Summaries: documents from tables and files, cut where they are too long, scored by ROUGE."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from small_pairs import model_and_tokenizer
from tprune.core.known_tasks import task_of, writes_sentences
from tprune.core.task import Predictions
from tprune.data.parallel import Parallel
from tprune.recipe.changes import built_in
from tprune.run.preparation import preparation_of
from tprune.run.translation.summaries import SummaryPreparation
from tprune.support.errors import InputError, OptionError
from tprune.tasks.scoring import compare, scores
from tprune.tasks.summarisation import Summarisation
from tprune.tasks.translation.task import TRANSLATION

TASK = Summarisation(beams=1)


def test_a_task_that_is_asked_for() -> None:
    model, _ = model_and_tokenizer()
    assert task_of(model) is TRANSLATION and task_of(model, "summarisation").name == "summarisation"
    assert writes_sentences("summarisation") and built_in("summarisation").name == "prune.summarisation.yaml"
    assert isinstance(preparation_of(TASK), SummaryPreparation)
    assert TASK.searching(4, None).beams == 4
    with pytest.raises(InputError, match="bleu_tokenize 13a: summaries are scored by ROUGE"):
        TASK.searching(4, "13a")


def test_long_documents_are_cut_and_counted() -> None:
    model, tokenizer = model_and_tokenizer()
    long = Parallel(("a cat sat " * 20, "a dog"), ("x y", "x"), "news")
    examples = TASK.encode(long, tokenizer, model)
    assert len(examples.source[0]) == 16 and examples.source[0][-1] == tokenizer.eos_token_id
    assert examples.notes == ("news: 1 of 2 documents are cut to 16 tokens",)
    with pytest.raises(InputError, match="line 1 has"):  # as translation does
        TRANSLATION.encode(long, tokenizer, model)


def test_summaries_are_scored_by_rouge() -> None:
    pytest.importorskip("rouge_score")
    model, tokenizer = model_and_tokenizer()
    data = Parallel(("one two three four", "five six"), ("the dogs were running", "no"), "news")
    examples = TASK.encode(data, tokenizer, model)
    said = Predictions(np.array(["the dog was running far", "no"], object))
    one, two, longest = scores(TASK, said, examples)
    # words in common 3 (stemmed: the, dog, run) of 5 and of 4: F1 2·3/9; no pair but "the dog": 2·1/7
    assert one.value == pytest.approx((600 / 9 + 100) / 2, abs=1e-4) and two.value == pytest.approx(100 / 7, abs=1e-3)
    assert longest.value == one.value and one.metric.name == "ROUGE-1" and "Porter stemmer" in one.signature
    assert compare(TASK, said, said, examples, samples=10).delta == 0
    (begun,) = TASK.baselines(examples, examples).values()
    assert begun.rows.tolist() == ["one two", "five six"]  # (4 + 1) / 2 words, rounded to even
    odd = Parallel(("a", "b"), ("Собака спит.", "Кот."), "news")
    assert "next to nothing of this language" in TASK.measures(said, TASK.encode(odd, tokenizer, model))[0].doubts[0]


def test_documents_come_from_tables_and_files(tmp_path: Path) -> None:
    def written(name: str, content: str) -> Path:
        (tmp_path / name).write_text(content)
        return tmp_path / name

    table = written("a.jsonl", '{"article": "one\\ntwo  three", "highlights": "a\\nb"}\n')
    assert TASK.read([table, table])[1] == ("one two three", "a b")
    files = [written("a.doc", "one\ntwo\n"), written("a.sum", "a\nb\n")]
    assert TASK.read(files)[1] == ("two", "b")
    for sources, columns, says in (
        ([written("b.csv", "document,gist\na,b\n")], (), r"b.csv: no column called summary or highlights or abstract"),
        ([written("c.csv", "document,summary\na,\n")], (), r"c.csv: row 1, column 'summary',"),
        ([written("d.jsonl", '{"text": 1, "summary": "a"}\n')], (), r"d.jsonl: row 1 has 1 in 'text'; expected text"),
        (files[:1], (), "1 files .*; expected tables with documents and summaries, or a file"),
    ):
        with pytest.raises(InputError, match=says):
            TASK.read(sources, columns)
    with pytest.raises(OptionError, match="expected two, such as document,summary"):
        TASK.read(table, ["article"])
