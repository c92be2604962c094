"""Data sets: folders as the `datasets` library reads them; the hub differs only in where they come from."""

import json
from pathlib import Path
from typing import Any

import pytest

from tprune.data import sampled
from tprune.data_sets import read_data_set
from tprune.errors import InputError

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
