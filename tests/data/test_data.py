"""Reading parallel text: every bad input gives one line that names the file and, where there is one, the line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tprune.data.parallel import Parallel, read_corpus, read_lines, read_pair
from tprune.support.errors import InputError

GOOD = b"eine Katze\nzwei Hunde\n"


def message(path: Path, raw: bytes | None) -> str:
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(InputError) as caught:
        read_lines(path)
    found = str(caught.value)
    assert path.name in found and "\n" not in found
    return found


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "the file is empty"),
        ("ok\nzw\xf6lf\n".encode("latin-1"), "line 2 is not UTF-8 (byte 0xf6 at column 3)"),
        (b"ok\nab\xc3", "line 2 is not UTF-8 (byte 0xc3 at column 3)"),
        ("ein Satz\n".encode("utf-16"), "line 1 holds a NUL byte"),
        (b"ok\r\nok\r\n", "line 1 ends in CR LF"),
        (b"ok\nnot\r\n", "line 2 ends in CR LF"),
        (b"\xef\xbb\xbfok\n", "line 1 starts with a byte-order mark"),
        (b"ok\na\0b\n", "line 2 holds a NUL byte"),
        (b"ok\n\nok\n", "line 2 is empty"),
        (b"ok\n \t\n", "line 2 is empty"),
        ("ok\n\u2028\n".encode(), "line 2 is empty"),
        (b"\n", "line 1 is empty"),
        (b"ok\n\n", "line 2 is empty"),
    ],
)
def test_bad_text_is_refused_naming_file_and_line(tmp_path: Path, raw: bytes, says: str) -> None:
    assert says in message(tmp_path / "sentences.de", raw)
    assert says in message(tmp_path / "sentences.de.gz", gzip.compress(raw))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read (No such file" in message(tmp_path / "missing.de", None)
    (tmp_path / "folder.de").mkdir()
    assert "cannot be read" in message(tmp_path / "folder.de", None)


@pytest.mark.parametrize(
    "raw",
    [
        GOOD,
        gzip.compress(GOOD)[:-9],
        gzip.compress(GOOD)[:15],
        gzip.compress(GOOD)[:-8] + b"\0" * 8,
        gzip.compress(GOOD) + b"rubbish",
        gzip.compress(GOOD)[:10] + b"\xff" * 20,
    ],
    ids=["plain", "truncated", "cut early", "checksum", "trailing", "corrupt"],
)
def test_broken_gzip_files_are_refused(tmp_path: Path, raw: bytes) -> None:
    found = message(tmp_path / "sentences.gz", raw)
    assert "not a complete gzip file" in found


def test_gz_reads_as_the_plain_file(tmp_path: Path) -> None:
    (tmp_path / "a.de").write_bytes(GOOD)
    (tmp_path / "a.de.gz").write_bytes(gzip.compress(GOOD))
    assert read_lines(tmp_path / "a.de") == read_lines(str(tmp_path / "a.de.gz")) == ("eine Katze", "zwei Hunde")


def test_the_last_line_needs_no_line_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\ntwo")
    assert read_lines(tmp_path / "a") == ("one", "two")


ODD = "\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e"


@given(st.lists(st.text(alphabet="aä鯨 \t" + ODD, max_size=8).map(lambda s: f"x{s}y"), min_size=1, max_size=6))
def test_lines_end_only_at_line_feeds(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_bytes("\n".join(lines).encode() + b"\n")
    assert list(read_lines(path)) == lines


def test_a_carriage_return_inside_a_line_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\rtwo\n")
    assert read_lines(tmp_path / "a") == ("one\rtwo",)


def test_different_lengths_name_both_files(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_bytes(b"one\n")
    (tmp_path / "a.de").write_bytes(GOOD)
    with pytest.raises(InputError, match=r"a\.en has 1 lines and .*a\.de has 2"):
        read_pair(tmp_path / "a.en", tmp_path / "a.de")
    with pytest.raises(InputError, match="corpus: the source has 1 lines and the target 2"):
        Parallel(("a",), ("b", "c"))
    with pytest.raises(InputError, match="corpus: no sentences"):
        Parallel((), ())


def write_pair(folder: Path, name: str, *sentences: str) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for side in ("en", "de"):
        (folder / f"{name}.{side}").write_text("".join(f"{s} {side}\n" for s in sentences), encoding="utf-8")
    return folder / f"{name}.en", folder / f"{name}.de"


def test_a_corpus_joins_training_files_and_keeps_test_sets_apart(tmp_path: Path) -> None:
    files = {
        "train": [write_pair(tmp_path, "t1", "a", "b"), write_pair(tmp_path, "t2", "c")],
        "valid": [write_pair(tmp_path, "v", "d")],
        "test": [write_pair(tmp_path, "x", "e"), write_pair(tmp_path, "y", "f", "g")],
    }
    corpus = read_corpus(files)
    assert corpus.train.source == ("a en", "b en", "c en") and corpus.train.target == ("a de", "b de", "c de")
    assert {name: len(pair) for name, pair in corpus.tests.items()} == {"x.en": 1, "y.en": 2}
    assert corpus.pooled_test().source == ("e en", "f en", "g en")
    assert corpus.train.head(2).source == ("a en", "b en")
    relative = {split: [(Path(s.name), Path(t.name)) for s, t in pairs] for split, pairs in files.items()}
    assert read_corpus(relative, tmp_path).train == corpus.train


def test_test_sets_of_one_file_name_are_all_kept(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, "t", "a")
    tests = [write_pair(tmp_path / year, "test", year) for year in ("2016", "2017")]
    corpus = read_corpus({"train": [pair], "valid": [pair], "test": tests})
    assert [p.source for p in corpus.tests.values()] == [("2016 en",), ("2017 en",)]
    assert all(name.endswith("test.en") for name in corpus.tests)
    with pytest.raises(InputError, match=r"test set .*test\.en is given twice"):
        read_corpus({"train": [pair], "valid": [pair], "test": [tests[0], tests[0]]})


def test_missing_splits_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no files for valid, test; expected"):
        read_corpus({"train": [write_pair(tmp_path, "t", "a")], "valid": []})


def test_a_sample_of_a_sorted_file_is_spread_over_all_of_it_and_the_same_for_the_same_seed() -> None:
    pairs = Parallel(tuple(f"s {i}" for i in range(1000)), tuple(f"t {i}" for i in range(1000)), files=("a.en", "a.de"))
    drawn = pairs.sample(200, seed=3)
    assert len(set(drawn.source)) == 200 and drawn == pairs.sample(200, seed=3) != pairs.sample(200, seed=4)
    places = [int(text.split()[1]) for text in drawn.source]
    assert places == sorted(places) and 420 < sum(places) / 200 < 580  # the first 200 would have 99.5
    assert drawn.target == tuple(f"t {i}" for i in places)
    assert [drawn.line(i) for i in range(200)] == [place + 1 for place in places]
    again = drawn.sample(50)
    assert [int(text.split()[1]) + 1 for text in again.source] == list(again.lines)
    assert pairs.sample(1000) is pairs and pairs.sample(5000) is pairs
