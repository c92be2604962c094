"""Data sets: folders as the `datasets` library reads them; the hub differs only in where they come from."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tprune.data.hub import _is_sentence, read_data_set
from tprune.data.parallel import sampled
from tprune.support.errors import InputError

ALL = dict.fromkeys(("train", "valid", "test"), 1000)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "pairs"


def write(folder: Path, **splits: list[Any]) -> None:
    folder.mkdir()
    for split, rows in splits.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_columns_inside_columns_and_missing_splits(folder: Path) -> None:
    write(folder, train=[{"translation": {"en": f"a {n}", "de": f"b {n}"}} for n in range(5)])
    said: list[str] = []
    found = read_data_set(str(folder), "translation.en", "translation.de", {**ALL, "train": 3}, said.append)
    assert list(found) == ["train"] and not said
    drawn = [int(text.removeprefix("a ")) for text in found["train"].source]
    assert len(set(drawn)) == 3 and drawn == sorted(drawn) and found["train"].target[2] == f"b {drawn[2]}"
    with pytest.raises(InputError, match=r"no split 'test'; there are 'train'"):
        read_data_set(str(folder), "translation.en", "translation.de", {"test": 9})
    with pytest.raises(InputError, match=r"no column 'en'; there are 'translation' \(--columns SOURCE,TARGET\)"):
        read_data_set(str(folder), "en", "de", ALL)
    with pytest.raises(InputError, match=r"column 'translation' holds no 'fr'"):
        read_data_set(str(folder), "translation.en", "translation.fr", ALL)
    with pytest.raises(InputError, match=r"row 1 of column 'translation' holds dict; expected text"):
        read_data_set(str(folder), "translation", "translation.de", ALL)


def test_csv_and_what_is_no_sentence(folder: Path) -> None:
    folder.mkdir()
    rows = ["en,de", "one,eins", '"  ",zwei', '"th\nree",drei', "four,", "five\u2028,fünf", "<b>,six"]
    (folder / "train.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "validation.csv").write_text("en,de\n  ,x\n", encoding="utf-8")
    said: list[str] = []
    found = read_data_set(str(folder), "en", "de", {"train": 1000}, said.append)
    assert found["train"].source == ("one", "five\u2028", "<b>")
    assert said == [
        f"{folder}, train: 3 of 6 pairs left out: a side is blank, of several lines, or of more than 20,000 characters"
    ]
    with pytest.raises(InputError, match="no pair of sentences in columns 'en' and 'de'"):
        read_data_set(str(folder), "en", "de", ALL)


def test_what_is_no_data_set_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match="no such folder; expected one with the corpus"):
        read_data_set(str(folder), "en", "de", ALL)
    folder.mkdir()
    with pytest.raises(InputError, match=r"could not be read .*expected a hub id, or a folder"):
        read_data_set(str(folder), "en", "de", ALL)
    with pytest.raises(InputError, match="could not be loaded from the hub"):
        read_data_set("nobody/nothing-here", "en", "de", ALL)


def test_a_limit_draws_from_the_whole_split_by_its_seed_and_names_rows_of_the_file(folder: Path) -> None:
    write(folder, train=[{"en": f"a {n}", "de": f"b {n}"} for n in range(400)])
    first, again, third = (
        read_data_set(str(folder), "en", "de", {"train": 100}, seed=seed)["train"].source for seed in (0, 0, 1)
    )
    assert first == again != third
    assert 150 < sum(int(text.removeprefix("a ")) for text in first) / 100 < 250
    other = folder.with_name("others")
    write(other, train=[{"en": f"a {n}", "de": {"text": "b"} if n == 399 else None} for n in range(400)])
    seed = next(seed for seed in range(99) if 399 in sampled(400, 100, seed))
    with pytest.raises(InputError, match="row 400 of column 'de' holds dict"):
        read_data_set(str(other), "en", "de", {"train": 100}, seed=seed)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "train.csv",
            "en,de\nHello, world,Hallo Welt\nYes, no,Ja\n",
            r"train\.csv: row 1 has 3 fields; the header has 2",
        ),
        ("train.csv", "en,de\nYes\n", r"train\.csv: row 1 has 1 field;"),
        ("train.tsv", "en\tde\nYes\tJa\nHello\tworld\tHallo\n", r"train\.tsv: row 2 has 3 fields"),
        ("train.csv", "en,en,de\na,b,c\n", r"train\.csv: the header has 2 columns 'en'"),
        ("train.csv", "en,de\na\0b,c\n", r"train\.csv: row 1 holds a NUL byte"),
        (
            "train.jsonl",
            '{"en": "a", "de": "b"}\n{"en": "hello \\ud83d", "de": "c"}\n',
            r"train\.jsonl: row 2 holds half of a surrogate",
        ),
        ("train.jsonl", '{"en": "a", "en": "b", "de": "c"}\n', r"train\.jsonl: line 1 has the key 'en' more than once"),
    ],
)
def test_damaged_tables_in_a_folder_are_named_with_their_row(folder: Path, name: str, content: str, says: str) -> None:
    folder.mkdir()
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        read_data_set(str(folder), "en", "de", {"train": 9})


def test_a_quote_in_a_tsv_is_a_character_and_na_is_a_word(folder: Path) -> None:
    folder.mkdir()
    (folder / "train.tsv").write_text('en\tde\n"Hello\tHallo\n5" pipe\tRohr\nNA\tNone\n', encoding="utf-8")
    found = read_data_set(str(folder), "en", "de", {"train": 9})["train"]
    assert found.source == ('"Hello', '5" pipe', "NA") and found.target == ("Hallo", "Rohr", "None")


def test_half_a_surrogate_pair_is_no_sentence() -> None:
    assert _is_sentence("whole \U0001f600") and not _is_sentence("cut \ud83d")


def test_a_pipe_in_a_folder_is_not_waited_for(folder: Path) -> None:
    folder.mkdir()
    (folder / "validation.jsonl").write_text('{"en": "a", "de": "b"}\n', encoding="utf-8")
    os.mkfifo(folder / "train.jsonl")
    with pytest.raises(InputError, match=r"train\.jsonl: cannot be read \(a named pipe\)|no split 'train'"):
        read_data_set(str(folder), "en", "de", {"train": 9})
