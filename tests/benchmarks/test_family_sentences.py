"""Sentences of many kinds: none of the test is trained on, and every kind is there."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from benchmarks.families import sentences
from benchmarks.families.fine_tuned import rows_of, write_banking


def packed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(text)


def test_no_sentence_of_the_test_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentences, "SENTENCES", {"train": 6, "valid": 2})
    monkeypatch.setattr(sentences, "PAIRS", 3)
    for kind, (reader, files, tests) in sentences.KINDS.items():
        for number, name in enumerate([*files, *tests]):
            ones = [f"a sentence of {kind}, file {number}, number {i}" for i in range(9)]
            ones += [f"both have this of {kind}", "short"]
            text = (
                "\n".join(ones)
                if reader is not sentences.questions
                else "text,category\n" + "\n".join(f'"{one}",card' for one in ones)
            )
            packed(tmp_path / name, text)
    sentences.write_sentences(tmp_path, tmp_path)
    train = (tmp_path / "train.txt").read_text().splitlines()
    valid = (tmp_path / "valid.txt").read_text().splitlines()
    rows = [line.split("\t") for line in (tmp_path / "test.tsv").read_text().splitlines()]
    assert rows[0] == ["sentence1", "sentence2"] and len(rows) == 1 + 3 * len(sentences.KINDS)
    assert len(train) == 6 * len(sentences.KINDS) and len(valid) == 2 * len(sentences.KINDS)
    tested = {one for row in rows[1:] for one in row}
    assert not tested & {*train, *valid} and not {*train} & {*valid} and len(tested) == 6 * len(sentences.KINDS)
    assert not any("both have this" in one or one == "short" for one in tested)
    assert all(one.split(",")[0] == two.split(",")[0] for one, two in rows[1:])


def test_prose_is_split_at_ends_of_sentences(tmp_path: Path) -> None:
    packed(tmp_path / "wiki.gz", " = A heading = \n It was long ago . He was born in <unk> . They left the town .\n")
    assert sentences.prose(tmp_path / "wiki.gz") == ["It was long ago", "They left the town ."]


def test_banking_has_a_validation_set_of_its_own(tmp_path: Path) -> None:
    for name in ("train", "test"):
        packed(
            tmp_path / f"{name}.csv.gz", "text,category\n" + "".join(f"q {name}  {i}?,c{i % 3}\n" for i in range(25))
        )
    write_banking(tmp_path, tmp_path)
    sets = {split: rows_of(tmp_path / f"{split}.tsv") for split in ("train", "valid", "test")}
    assert [len(texts) for texts, _ in sets.values()] == [22, 3, 25]
    assert sets["valid"] == (["q train 0?", "q train 10?", "q train 20?"], ["c0", "c1", "c2"])
    assert not {*sets["train"][0]} & {*sets["valid"][0]}
