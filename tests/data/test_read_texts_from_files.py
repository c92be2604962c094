"""Labelled texts, plain texts and token ids: from files, thinned out, and by digest."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from tprune.core.data import Data, evenly
from tprune.data.parallel import Corpus, Parallel
from tprune.data.read_texts import read_labeled_texts, read_texts
from tprune.data.splits import Splits
from tprune.data.texts import LabeledTexts, Texts, TokenSequences
from tprune.support.errors import InputError

SST = 'sentence\tlabel\na fine "film"\t1\na bore\t0\n'


def test_labelled_texts_of_all_kinds_of_tables(tmp_path: Path) -> None:
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(SST.encode()))
    (tmp_path / "b.csv").write_text('text,category\n"two\nlines, and a comma",card_lost\n')
    (tmp_path / "c.jsonl").write_text('{"text": "x", "label": 2, "id": 7}\n\n{"text": "y", "label": "0", "id": 8}\n')
    tsv = read_labeled_texts(tmp_path / "a.tsv.gz")
    assert tsv.texts == ('a fine "film"', "a bore") and tsv.labels == ("1", "0") and tsv.name == "a.tsv.gz"
    assert tsv.place(1) == f"{tmp_path}/a.tsv.gz: row 2"
    assert read_labeled_texts(tmp_path / "b.csv")[0] == ("two\nlines, and a comma", "card_lost")
    joined = read_labeled_texts([tmp_path / "a.tsv.gz", tmp_path / "c.jsonl"])
    assert joined.labels == ("1", "0", "2", "0") and joined.place(3) == f"{tmp_path}/c.jsonl: row 2"
    assert read_labeled_texts(tmp_path / "c.jsonl", ["text", "id"]).labels == ("7", "8")


@pytest.mark.parametrize(
    ("name", "content", "columns", "says"),
    [
        ("a.tsv", SST, ["text", "label"], "no column 'text'; there are 'sentence', 'label'"),
        ("a.csv", "a,b\n1,2\n", [], "no column called text or sentence; there are 'a', 'b'; name one with --columns"),
        ("a.csv", "text,x\n1,2\n", [], "no column called label or category or class"),
        ("a.csv", "text,label\na,b\n,c\n", [], "a.csv: row 2 is empty"),
        (
            "a.csv",
            "text,label\na,b\nb,\n",
            [],
            "a.csv: row 2 has '' in 'label'; expected the name or number of a class",
        ),
        ("a.csv", "text,label\na,b,c\n", [], "row 1 has 3 fields; the header has 2"),
        ("a.csv", "text,label\n", [], "has no rows"),
        ("a.csv", "", [], "no column called text"),
        ("a.jsonl", "", [], "has no rows"),
        ("a.jsonl", "[1]\n", [], "its first line holds a list; expected an object"),
        ("a.jsonl", "{1\n", [], "its first line is no JSON"),
        ("a.jsonl", '{"text": 3, "label": 1}\n', [], "row 1 has 3; expected text"),
        ("a.jsonl", '{"text": "a", "label": true}\n', [], "row 1 has True in 'label'"),
        ("a.jsonl", '{"text": "a", "label": 0.5}\n', [], "row 1 has 0.5 in 'label'"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n', [], "line 2 has no key 'label'"),
        ("a.txt", "text\n", [], "expected a table with texts and labels"),
        ("a.tsv", SST, ["text"], "--columns text; expected two"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(
    tmp_path: Path, name: str, content: str, columns: list[str], says: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as error:
        read_labeled_texts(tmp_path / name, columns)
    assert says in str(error.value)


def test_texts_of_lines_and_columns(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text(" = Title = \n\n One day .\n")
    (tmp_path / "t.jsonl").write_text('{"text": "a b"}\n')
    (tmp_path / "i.jsonl").write_text('{"input_ids": [1, 5, 7]}\n{"input_ids": [1]}\n')
    lines = read_texts(tmp_path / "w.txt")
    assert isinstance(lines, Texts) and lines.texts == ("= Title =", "One day .")
    assert lines.place(1) == f"{tmp_path}/w.txt: line 3"
    assert read_texts(tmp_path / "t.jsonl") == Texts(("a b",), "t.jsonl", (f"{tmp_path}/t.jsonl: row 1",))
    ids = read_texts(tmp_path / "i.jsonl")
    assert isinstance(ids, TokenSequences) and ids.ids == ((1, 5, 7), (1,))
    with pytest.raises(InputError, match=r"w.txt holds texts and i.jsonl ids; expected one kind"):
        read_texts([tmp_path / "w.txt", tmp_path / "i.jsonl"])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", b"\n \n", "the file has no text"),
        ("a.txt", b"a\nb\xff\n", "a.txt: line 2 is not UTF-8"),
        ("a.txt", b"a\r\n", "line 1 ends in CR LF"),
        ("a.jsonl", b'{"input_ids": [1]}\n{"input_ids": [1, -2]}\n', "row 2 has no list of token ids"),
        ("a.jsonl", b'{"input_ids": []}\n', "row 1 has no list of token ids"),
        ("a.jsonl", b'{"input_ids": [1]}\n{"input_ids": "a"}\n', "row 2 has no list of token ids"),
        ("a.jsonl", b'{"other": "a"}\n', "no column called input_ids or text or sentence; there are 'other'"),
    ],
)
def test_what_is_wrong_with_texts_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        read_texts(tmp_path / name)
    assert says in str(error.value)
    if name.endswith("txt"):
        with pytest.raises(InputError, match="no table; expected"):
            read_texts(tmp_path / name, ["text"])


SETS = (
    Parallel(tuple("abcdef"), tuple("uvwxyz")),
    LabeledTexts(tuple("abcdef"), tuple("010101")),
    Texts(tuple("abcdef")),
    TokenSequences(tuple((i, 2) for i in range(6))),
)


@pytest.mark.parametrize("data", SETS, ids=lambda data: type(data).__name__)
def test_all_sets_are_data(data: Any) -> None:
    assert isinstance(data, Data)
    few = evenly(data, 3)
    assert [few[i] for i in range(3)] == [data[0], data[2], data[5]] and few.place(1) == data.place(2)
    assert [data.picked(range(6)[::-1])[i] for i in range(6)] == [data[i] for i in range(6)][::-1]
    assert data.picked(range(6)) is data and len(data.sample(2)) == 2 and len(data.head(4)) == 4
    assert data.digest() == data.picked(range(6)).digest() != few.digest() and len(data.digest()) == 12
    joined = data + few
    assert len(joined) == 9 and joined[8] == data[5] and joined.name == f"{data.name}+{data.name}"


def test_a_digest_is_of_the_content_alone() -> None:
    one = LabeledTexts(("a",), ("1",), "x", ("f: row 1",))
    assert one.digest() == LabeledTexts(("a",), ("1",), "y").digest() == "b871f497adca"
    assert one.digest() != LabeledTexts(("a",), ("0",)).digest()


def test_splits_of_any_kind() -> None:
    sets = LabeledTexts(("a",), ("1",), "a"), LabeledTexts(("b",), ("0",), "b")
    found = Splits(sets[0], sets[1], {"one": sets[0], "two": sets[1]})
    assert found.pooled_test().texts == ("a", "b")
    assert found.digests()["test"] == LabeledTexts(("a", "b"), ("1", "0")).digest()
    with pytest.raises(InputError, match="valid: list; expected data"):
        Splits(sets[0], [], {})  # type: ignore[type-var]
    with pytest.raises(InputError, match="train: LabeledTexts; expected Parallel"):
        Corpus(sets[0], sets[1], {})  # type: ignore[arg-type]


@pytest.mark.skipif(not os.environ.get("TPRUNE_DATA"), reason="TPRUNE_DATA names no folder")
def test_real_files() -> None:
    folder = Path(os.environ["TPRUNE_DATA"])
    sst = read_labeled_texts(folder / "sst2/dev.tsv.gz")
    assert len(sst) == 872 and sum(label == "1" for label in sst.labels) == 444
    banking = read_labeled_texts(folder / "banking77/test.csv.gz")
    assert len(banking) == 3080 and len(set(banking.labels)) == 77
    assert len(read_texts(folder / "wikitext2/test.txt.gz")) > 2000
