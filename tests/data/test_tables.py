"""Sentences from columns of tables."""

import gzip
from pathlib import Path

import pytest

from tprune.data.parallel import LONGEST, read_lines, read_pair
from tprune.data.tables import column_of
from tprune.support.errors import InputError

CSV = 'en,de\n"a cat, asleep","eine Katze, schlafend"\n"she said ""hi""",sie sagte hi\n'


def test_columns_of_all_kinds_of_tables_are_read(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(CSV)
    (tmp_path / "p.tsv").write_text("en\tde\na, b\tc\n")
    (tmp_path / "p.jsonl").write_text('{"t": {"en": "a cat", "de": "eine Katze"}}\n\n{"t": {"en": "b", "de": "c"}}\n')
    (tmp_path / "p.csv.gz").write_bytes(gzip.compress(("\ufeff" + CSV).encode()))
    pairs = read_pair(f"{tmp_path}/p.csv:en", f"{tmp_path}/p.csv:de")
    assert pairs.source == ("a cat, asleep", 'she said "hi"') and pairs.target[0] == "eine Katze, schlafend"
    assert read_lines(tmp_path / "p.csv.gz:en") == pairs.source
    assert read_lines(tmp_path / "p.tsv:en") == ("a, b",)
    assert read_lines(tmp_path / "p.jsonl:t.de") == ("eine Katze", "c")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("p.csv", CSV, "a table; say which column, such as "),
        ("p.csv:fr", CSV, "no column 'fr'; there are 'en', 'de'"),
        ("p.csv:en", "en,de\n", "has no rows"),
        ("p.csv:de", "en,de\na\n", "row 1 has 1 field; the header has 2"),
        (
            "p.csv:de",
            "en,de\nYes,Ja\nHello, world,Hallo Welt\n",
            "row 2 has 3 fields; the header has 2; a comma inside a text",
        ),
        ("p.csv:en", "en,de\nHello, world,Hallo Welt\n", "row 1 has 3 fields; the header has 2"),
        ("p.tsv:de", "en\tde\nHello\tworld\tHallo Welt\n", "row 1 has 3 fields; the header has 2"),
        ("p.tsv:de", "en\tde\nHello\n", "row 1 has 1 field; the header has 2"),
        ("p.tsv:en", "en\tde\na\rb\tc\n", "row 1 has a text of several lines (a carriage return)"),
        ("p.csv:en", "en,de,en\na,b,c\n", "the header has 2 columns 'en'; expected one of that name"),
        ("p.tsv:en", "en\ten\na\tb\n", "the header has 2 columns 'en'; expected one of that name"),
        ("p.csv:en", "en\na\n\nb\n", "row 2 is blank; expected 1 field, as in the header"),
        ("p.tsv:en", "en\tde\na\tb\n\nc\td\n", "row 2 is blank; expected 2 fields"),
        ("p.csv:en", "", "no column 'en'"),
        ("p.csv:en", "en,de\na\0b,c\n", "row 1 holds a NUL byte"),
        ("p.tsv:en", "en\tde\na\0b\tc\n", "row 1 holds a NUL byte"),
        ("p.csv:en", "en,de\n\ufeffa,b\n", "row 1 starts with a byte-order mark"),
        ("p.csv:en", 'en\n"a\nb"\n', "row 1 has a text of several lines"),
        ("p.csv:en", 'en\n"a" b\n', "no table"),
        ("p.csv:en", "en,de\n ,x\n", "row 1 is empty"),
        ("p.jsonl:en", '{"en": 3}\n', "row 1 has 3 in 'en'; expected text"),
        ("p.jsonl:en", '{"de": "a"}\n', "line 1 has no key 'en'; there are 'de'"),
        ("p.jsonl:en", '{"en": "a"}\n{"en"\n', "line 2 is no JSON"),
        ("p.jsonl:en", '{"en": "a"}\n{"en": "hello \\ud83d"}\n', "row 2 holds half of a surrogate pair (U+D83D)"),
        ("p.jsonl:en", '{"en": "\\ude00 b"}\n', "row 1 holds half of a surrogate pair (U+DE00)"),
        ("p.jsonl:en", '{"en": "a\\u0000b"}\n', "row 1 holds a NUL byte"),
        ("p.jsonl:en", '{"en": "a", "en": "b"}\n', "line 1 has the key 'en' more than once"),
        ("p.jsonl:t.en", '{"t": {"en": "a", "en": "b"}}\n', "line 1 has the key 'en' more than once"),
        ("p.jsonl:en", '{"en": "a\\rb"}\n', "row 1 has a text of several lines"),
        ("p.jsonl:en.x", '{"en": "a"}\n', "line 1 has no key 'x'"),
    ],
)
def test_bad_tables_are_named_with_their_row(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name.partition(":")[0]).write_text(content, newline="")
    with pytest.raises(InputError) as said:
        read_lines(tmp_path / name)
    assert says in str(said.value) and str(tmp_path / "p.") in str(said.value)


@pytest.mark.parametrize(
    ("name", "content", "holds"),
    [
        ("p.csv:de", 'en,de\n"Hello, world",Hallo Welt\nYes,Ja\n', ("Hallo Welt", "Ja")),
        ("p.csv:en", "en,de\r\nYes,Ja\r\n\r\n", ("Yes",)),
        ("p.csv:de", "id,id,de\n1,2,Ja\n", ("Ja",)),
        (
            "p.tsv:en",
            'en\tde\n"Hello\tHallo\n5" pipes\t5"-Rohre\n"quoted"\t"zitiert"\n\n',
            ('"Hello', '5" pipes', '"quoted"'),
        ),
        ("p.tsv:de", "\ufeffen\tde\r\nYes\tJa\r\n", ("Ja",)),
        ("p.TSV:de", "en\tde\nYes\tJa\n", ("Ja",)),
        ("p.jsonl:en", '{"en": "cut \\ud83d\\ude00", "de": "a", "de": "b"}\n', ("cut \U0001f600",)),
        ("p.csv:en", "en,document\na," + "x" * 200_000 + "\n", ("a",)),
    ],
)
def test_what_looks_odd_but_is_a_table_is_read(tmp_path: Path, name: str, content: str, holds: tuple[str, ...]) -> None:
    (tmp_path / name.partition(":")[0]).write_text(content, newline="")
    assert read_lines(tmp_path / name) == holds


def test_what_is_no_table_is_no_table() -> None:
    assert column_of("train.en") is None and column_of("a.csv.txt") is None and column_of("C:/x/train.en") is None


def test_a_gzip_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"a" * 50_000_000))
    with pytest.raises(InputError, match="unpacks to more than 300 times its size"):
        read_lines(tmp_path / "bomb.gz")
    text = "".join(f"sentence {i} of many\n" for i in range(50_000)).encode()
    (tmp_path / "text.gz").write_bytes(gzip.compress(text))
    assert len(read_lines(tmp_path / "text.gz")) == 50_000


def test_a_book_in_one_line_is_no_sentence(tmp_path: Path) -> None:
    (tmp_path / "book").write_text("a b\n" + "word " * LONGEST + "\n")
    with pytest.raises(
        InputError, match=f"book: line 2 has {5 * LONGEST:,} characters; expected a sentence, of at most"
    ):
        read_lines(tmp_path / "book")
