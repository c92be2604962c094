"""Sentences from a column of a table: `pairs.csv:en`, `pairs.tsv:en`, `pairs.jsonl:translation.en`, `.gz` too."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tprune.errors import InputError

NAMED = re.compile(r"^(?P<file>.+\.(?P<kind>csv|tsv|jsonl)(?:\.gz)?)(?::(?P<column>[^/]+))?$")


def column_of(path: str | Path) -> tuple[Path, str] | None:
    """File and column of `FILE:COLUMN`; None for what is no table.

    Raises:
        InputError: a table without a column.

    Example:
        >>> column_of("pairs.csv:en"), column_of("train.en")
        ((PosixPath('pairs.csv'), 'en'), None)
    """
    found = NAMED.match(str(path))
    if found is None:
        return None
    if found["column"] is None:
        raise InputError(f"{path}: a table; say which column, such as {path}:en")
    return Path(found["file"]), found["column"]


def read_column(path: Path, column: str, raw: bytes) -> Iterator[tuple[int, str]]:
    """Row numbers, from 1, and texts of a column.

    Args:
        path: for messages, and its ending for the kind of table.
        column: a name in the first row of a CSV or TSV; a key of a JSONL, with dots for keys inside.
        raw: the file's content.

    Raises:
        InputError: not UTF-8, no such column, a row without it, or a text of several lines; names file and row.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte 0x{raw[error.start]:02x} at position {error.start})") from None
    found = NAMED.match(str(path))
    assert found is not None
    rows = 0
    for rows, value in enumerate(READERS[found["kind"]](path, column, text), start=1):
        if not isinstance(value, str):
            raise InputError(f"{path}: row {rows} has {value!r} in {column!r}; expected text")
        if "\n" in value or "\r" in value:
            raise InputError(f"{path}: row {rows} has a text of several lines in {column!r}; expected one sentence")
        yield rows, value
    if not rows:
        raise InputError(f"{path}: the table has no rows")


def _separated(path: Path, column: str, text: str, delimiter: str) -> Iterator[Any]:
    try:
        table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        if column not in (names := table.fieldnames or ()):
            raise InputError(f"{path}: no column {column!r}; there are {', '.join(map(repr, names))}")
        for row in table:
            yield row[column]
    except csv.Error as error:
        raise InputError(f"{path}: no table ({error})") from None


def _objects(path: Path, column: str, text: str) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {number} is no JSON ({error})") from None
        for key in column.split("."):
            if not isinstance(value, dict) or key not in value:
                keys = f"; there are {', '.join(map(repr, value))}" if isinstance(value, dict) else ""
                raise InputError(f"{path}: line {number} has no key {key!r}{keys}")
            value = value[key]
        yield value


READERS: Mapping[str, Callable[[Path, str, str], Iterator[Any]]] = {
    "csv": lambda path, column, text: _separated(path, column, text, ","),
    "tsv": lambda path, column, text: _separated(path, column, text, "\t"),
    "jsonl": _objects,
}
