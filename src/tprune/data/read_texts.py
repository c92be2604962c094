"""Texts from tables (CSV, TSV, JSON lines) and from plain files, `.gz` or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, TypeVar

from tprune.core.data import Sources, paths
from tprune.data.parallel import contents, decoded_line, sentence
from tprune.data.rows import Rows
from tprune.data.tables import column_names, is_table, read_columns
from tprune.data.texts import LabeledTexts, Texts, TokenSequences
from tprune.support.errors import InputError, OptionError

TEXT, LABEL, IDS = ("text", "sentence"), ("label", "category", "class"), ("input_ids",)  # usual names of columns
LONGEST = 5_000_000  # characters of a document
R = TypeVar("R", bound=Rows)


def read_labeled_texts(sources: Sources, columns: Sequence[str] = ()) -> LabeledTexts:
    """Texts with their classes from tables.

    Args:
        sources: CSV, TSV or JSONL files.
        columns: of the texts and of the labels; those called `text` or `sentence`, and `label`, `category` or `class`,
            if not given.

    Raises:
        InputError: a file cannot be read, lacks a column, or a row has no text or no label; names file and row.
    """
    if columns and len(columns) != 2:
        raise OptionError(f"--columns {','.join(columns)}; expected two, such as text,label")
    return _joined(_labeled, sources, columns)


def read_texts(sources: Sources, columns: Sequence[str] = ()) -> Texts | TokenSequences:
    """Texts for a language model: the lines of plain files, or a column of tables; of JSON lines token ids, too.

    Blank lines of plain files are left out.

    Args:
        sources: text files, or CSV, TSV or JSONL files; all of them with texts, or all with token ids.
        columns: of the texts or token ids; one called `text`, `sentence` or `input_ids` if not given.

    Raises:
        InputError: a file cannot be read or lacks the column, or a row has neither text nor ids; names file and row.
    """
    if len(columns) > 1:
        raise OptionError(f"--columns {','.join(columns)}; expected one, such as text")
    found = _joined(_plain, sources, columns)
    assert isinstance(found, Texts | TokenSequences)
    return found


def _joined(read: Callable[[Path, Sequence[str]], R], sources: Sources, columns: Sequence[str]) -> R:
    sets = [read(path, columns) for path in paths(sources)]
    if not sets:
        raise InputError("no files; expected at least one")
    if other := next((each for each in sets if type(each) is not type(sets[0])), None):
        raise InputError(
            f"{sets[0].name} holds {sets[0].COLUMNS[0]} and {other.name} {other.COLUMNS[0]}; expected one kind"
        )
    return reduce(add, sets)


def _labeled(path: Path, columns: Sequence[str]) -> LabeledTexts:
    if not is_table(path):
        raise InputError(f"{path}: expected a table with texts and labels (.csv, .tsv or .jsonl, .gz too)")
    raw = contents(path)
    chosen = tuple(columns) or (_column(path, raw, TEXT), _column(path, raw, LABEL))
    texts, labels, places = [], [], []
    for row, (text, label) in read_columns(path, chosen, raw):
        places.append(f"{path}: row {row}")
        texts.append(_text(text, places[-1]))
        labels.append(_label(label, places[-1], chosen[1]))
    return LabeledTexts(tuple(texts), tuple(labels), path.name, tuple(places))


def _plain(path: Path, columns: Sequence[str]) -> Texts | TokenSequences:
    raw = contents(path)
    if not is_table(path):
        if columns:
            raise InputError(f"{path}: no table; expected .csv, .tsv or .jsonl (.gz too) with column {columns[0]!r}")
        lines = [(f"{path}: line {number}", text) for number, text in _lines(path, raw)]
        if not lines:
            raise InputError(f"{path}: the file has no text; expected lines of text")
        return Texts(tuple(text for _, text in lines), path.name, tuple(place for place, _ in lines))
    column = columns[0] if columns else _column(path, raw, (*IDS, *TEXT))
    found = [(f"{path}: row {row}", value) for row, (value,) in read_columns(path, (column,), raw)]
    places = tuple(place for place, _ in found)
    if found and isinstance(found[0][1], list):
        return TokenSequences(tuple(_ids(value, place) for place, value in found), path.name, places)
    return Texts(tuple(_text(value, place) for place, value in found), path.name, places)


def _lines(path: Path, raw: bytes) -> Iterator[tuple[int, str]]:
    """Numbers, from 1, and texts of the lines that are not blank."""
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if line.strip():
            yield number, decoded_line(line, path, number, LONGEST).strip()


def _column(path: Path, raw: bytes, usual: Sequence[str]) -> str:
    """The first column that has a usual name."""
    there = column_names(path, raw)
    if (found := next((name for name in usual if name in there), None)) is None:
        known = ", ".join(map(repr, there))
        instead = f"there are {known}; name one with --columns" if known else "the file is empty"
        raise InputError(f"{path}: no column called {' or '.join(usual)}; {instead}")
    return found


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{place} has {value!r}; expected text")
    return sentence(value, place, LONGEST)


def _label(value: Any, place: str, column: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise InputError(f"{place} has {value!r} in {column!r}; expected the name or number of a class")
    return str(value).strip()


def _ids(value: Any, place: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(type(each) is int and each >= 0 for each in value):
        raise InputError(f"{place} has no list of token ids; expected whole numbers from 0, such as [1, 403, 7]")
    return tuple(value)
