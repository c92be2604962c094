"""Tagged words from JSON lines and from text files with a word and its tag on each line, `.gz` or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from tprune.core.data import Sources, paths
from tprune.data.parallel import contents, decoded_line
from tprune.data.tables import column_names, is_table, read_columns
from tprune.data.tagged import TaggedTexts
from tprune.support.errors import InputError, OptionError

TOKENS, TAGS = ("tokens", "words"), ("tags", "ner_tags", "labels")  # usual names of columns
DOCUMENT = "-DOCSTART-"  # the word of lines between documents, in files of CoNLL-2003
LONGEST = 10_000  # characters of a line
EXPECTED = (
    'JSON lines such as {"tokens": ["in", "Rome"], "tags": ["O", "B-LOC"]} (.jsonl), or a text file with a word and '
    "its tag on each line and blank lines between texts (such as .conll)"
)
Line = tuple[int, str, str]  # its number, word and tag


def read_tagged(sources: Sources, columns: Sequence[str] = ()) -> TaggedTexts:
    """Words with their tags.

    Text files have the word in the first column and the tag in the last one, between spaces or tabs.

    Args:
        sources: JSONL files, or text files.
        columns: keys of a JSONL of the words and of the tags; `tokens` or `words`, and `tags`, `ner_tags` or `labels`,
            if not given.

    Raises:
        InputError: a file cannot be read, a line has no tag, or a text has not as many tags as words; names file and
            line.
    """
    if columns and len(columns) != 2:
        raise OptionError(f"--columns {','.join(columns)}; expected two, such as tokens,tags")
    sets = [_objects(path, columns) if is_table(path) else _lines(path, columns) for path in paths(sources)]
    if not sets:
        raise InputError(f"no files; expected at least one of {EXPECTED}")
    return reduce(add, sets)


def _objects(path: Path, columns: Sequence[str]) -> TaggedTexts:
    if ".jsonl" not in [suffix.lower() for suffix in path.suffixes]:
        raise InputError(f"{path}: a table of fields; expected {EXPECTED}")
    raw = contents(path)
    chosen = tuple(columns) or tuple(_column(path, raw, usual) for usual in (TOKENS, TAGS))
    tokens, tags, places = list[tuple[str, ...]](), list[tuple[str, ...]](), list[str]()
    for row, (words, labels) in read_columns(path, chosen, raw):
        places.append(f"{path}: row {row}")
        tokens.append(_words(words, places[-1], chosen[0], (str,), "words"))
        tags.append(_words(labels, places[-1], chosen[1], (str, int), "names or numbers of tags"))
    return TaggedTexts(tuple(tokens), tuple(tags), path.name, tuple(places))


def _column(path: Path, raw: bytes, usual: Sequence[str]) -> str:
    there = column_names(path, raw)
    if (found := next((name for name in usual if name in there), None)) is None:
        known = ", ".join(map(repr, there))
        raise InputError(f"{path}: no key {' or '.join(usual)}; there are {known}; name one with --columns")
    return found


def _words(value: Any, place: str, key: str, kinds: tuple[type, ...], what: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InputError(f"{place} has a {type(value).__name__} in {key!r}; expected a list of {what}")
    for number, each in enumerate(value, start=1):
        if isinstance(each, bool) or not isinstance(each, kinds) or not str(each).strip():
            raise InputError(f"{place}: number {number} in {key!r} is {each!r}; expected {what}")
    return tuple(str(each) for each in value)


def _lines(path: Path, columns: Sequence[str]) -> TaggedTexts:
    if columns:
        raise OptionError(f"--columns {','.join(columns)}: {path} has no names of columns; give .jsonl files")
    texts = list(_texts(path, _split(path, contents(path))))
    if not texts:
        raise InputError(f"{path}: no words; expected {EXPECTED}")
    return TaggedTexts(
        tuple(tuple(word for _, word, _ in text) for text in texts),
        tuple(tuple(tag for _, _, tag in text) for text in texts),
        path.name,
        tuple(f"{path}: line {text[0][0]}" for text in texts),
    )


def _split(path: Path, raw: bytes) -> Iterator[tuple[int, list[str]]]:
    """The numbers of all lines and their fields; none of a blank line."""
    for number, line in enumerate(raw.split(b"\n"), start=1):
        yield number, decoded_line(line, path, number, LONGEST).replace("\t", " ").split(" ") if line.strip() else []


def _texts(path: Path, lines: Iterator[tuple[int, list[str]]]) -> Iterator[list[Line]]:
    text, width = list[Line](), 0
    for number, given in lines:
        fields = [field for field in given if field]
        if not fields or fields[0] == DOCUMENT:
            if text:
                yield text
            text = []
            continue
        width = width or len(fields)
        if len(fields) < 2:
            raise InputError(f"{path}: line {number} has {fields[0]!r} alone; expected a word and its tag")
        if len(fields) != width:
            raise InputError(f"{path}: line {number} has {len(fields)} columns; the first line has {width}")
        text.append((number, fields[0], fields[-1]))
    if text:
        yield text
