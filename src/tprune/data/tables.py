"""Sentences from a column of a table: `pairs.csv:en`, `pairs.tsv:en`, `pairs.jsonl:translation.en`, `.gz` too."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tprune.support.errors import InputError

NAMED = re.compile(
    r"^(?P<file>.+\.(?P<kind>csv|tsv|jsonl)(?:\.gz)?)(?::(?P<column>[^/]+))?$", re.IGNORECASE | re.DOTALL
)
Row = tuple[int, list[str]]  # its number, from 1 after the header, and its fields


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
    """Row numbers, from 1 after a header, and texts of a column.

    Args:
        path: for messages, and its ending for the kind of table.
        column: a name in the first row of a CSV or TSV; a key of a JSONL, with dots for keys inside.
        raw: the file's content.

    Raises:
        InputError: not UTF-8, no such column or two of that name, a row with more or fewer fields than the header, or a
            text of several lines; names file and row.
    """
    rows = 0
    for rows, value in READERS[_kind(path)](path, column, decoded(path, raw)):
        if not isinstance(value, str):
            raise InputError(f"{path}: row {rows} has {value!r} in {column!r}; expected text")
        if "\n" in value or "\r" in value:
            raise InputError(f"{path}: row {rows} has a text of several lines in {column!r}; expected one sentence")
        yield rows, value
    if not rows:
        raise InputError(f"{path}: the table has no rows")


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its ending.

    Example:
        >>> is_table(Path("a.tsv.gz")), is_table(Path("a.txt"))
        (True, False)
    """
    found = NAMED.match(str(path))
    return found is not None and found["column"] is None


def column_names(path: Path, raw: bytes) -> list[str]:
    """The columns of a table: its header, or the keys of the first object of a JSONL.

    Raises:
        InputError: not UTF-8, or no JSON objects.
    """
    text = decoded(path, raw)
    if _kind(path) in SPLIT:
        return _header(path, text)
    first: Any = next((line for line in text.split("\n") if line.strip()), None)
    if first is None:
        raise InputError(f"{path}: the table has no rows")
    try:
        first = json.loads(first)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its first line is no JSON ({error})") from None
    if not isinstance(first, dict):
        raise InputError(f"{path}: its first line holds a {type(first).__name__}; expected an object, {{...}}")
    return list(first)


def read_columns(path: Path, columns: Sequence[str], raw: bytes) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Row numbers, from 1 after a header, and the values of some columns.

    Raises:
        InputError: not UTF-8, no such column or two of that name, no rows, or a row with more or fewer fields than the
            header; names file and row.
    """
    text, rows = decoded(path, raw), 0
    for found in zip(*(READERS[_kind(path)](path, column, text) for column in columns), strict=True):
        rows = found[0][0]
        yield rows, tuple(value for _, value in found)
    if not rows:
        raise InputError(f"{path}: the table has no rows")


def decoded(path: Path, raw: bytes) -> str:
    """A table's text, without the byte-order mark that spreadsheets write.

    Raises `InputError` where it is not UTF-8.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte 0x{raw[error.start]:02x} at position {error.start})") from None


def check_rows(path: Path, columns: Sequence[str], text: str) -> None:
    """Reads a CSV or TSV for what is wrong with its rows, whatever is in them.

    Raises:
        InputError: two columns of one of these names, a row with more or fewer fields than the header, or a NUL; names
            file and row.
    """
    header = _header(path, text)
    for name in columns:
        if name in header:
            _position(path, name, header)
    for number, fields in _rows(path, text):
        if any("\0" in field for field in fields):
            raise InputError(f"{path}: row {number} holds a NUL byte; expected text")


def check_objects(path: Path, columns: Sequence[str], text: str) -> None:
    """Reads a JSONL for what is wrong with its lines.

    Raises:
        InputError: a line that is no JSON, has one of these columns not or more than once, or half of a surrogate pair
            in it; names file and line.
    """
    for column in columns:
        for row, value in _objects(path, column, text):
            if isinstance(value, str) and (half := half_a_pair(value)) is not None:
                raise InputError(f"{path}: row {row} {broken_pair(half)}")


def half_a_pair(text: str) -> str | None:
    """A lone surrogate in a text, which no file can hold; None where there is none.

    Example:
        >>> half_a_pair("whole") is None, half_a_pair("cut \\ud83d") == "\\ud83d"
        (True, True)
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return text[error.start]
    return None


def broken_pair(half: str) -> str:
    """What to say of it."""
    return f"holds half of a surrogate pair (U+{ord(half):04X}); expected text, such as whole emoji"


def _kind(path: Path) -> str:
    found = NAMED.match(str(path))
    assert found is not None
    return found["kind"].lower()


def _column(path: Path, column: str, text: str) -> Iterator[tuple[int, str]]:
    """Row numbers and the texts of one column of a CSV or TSV."""
    at = _position(path, column, _header(path, text))
    return ((number, fields[at]) for number, fields in _rows(path, text))


def _position(path: Path, column: str, header: Sequence[str]) -> int:
    if (times := header.count(column)) > 1:
        raise InputError(f"{path}: the header has {times} columns {column!r}; expected one of that name")
    if not times:
        raise InputError(f"{path}: no column {column!r}; there are {', '.join(map(repr, header))}")
    return header.index(column)


def _header(path: Path, text: str) -> list[str]:
    return next(SPLIT[_kind(path)](path, text), (0, list[str]()))[1]


def _rows(path: Path, text: str) -> Iterator[Row]:
    """The rows after the header, all with as many fields as it. Blank lines at the end are none."""
    blank, columns = 0, len(_header(path, text))
    for number, fields in SPLIT[_kind(path)](path, text):
        if not number:
            continue
        if not fields:
            blank = blank or number
            continue
        if blank:
            raise InputError(f"{path}: row {blank} is blank; expected {_fields(columns)}, as in the header")
        if len(fields) != columns:
            hint = "; a comma inside a text needs quotes around it" if _kind(path) == "csv" else ""
            raise InputError(f"{path}: row {number} has {_fields(len(fields))}; the header has {columns}{hint}")
        yield number, fields


def _fields(number: int) -> str:
    return f"{number} field{'s' * (number != 1)}"


def _csv(path: Path, text: str) -> Iterator[Row]:
    """Header (0) and rows of a CSV: a quoted field may hold commas, quotes (doubled) and line ends."""
    number = -1
    csv.field_size_limit(2**31 - 1)  # other columns may hold documents
    try:
        for number, fields in enumerate(csv.reader(io.StringIO(text, newline=""), strict=True)):
            yield number, fields
    except csv.Error as error:
        raise InputError(f"{path}: no table (row {number + 1}: {error})") from None


def _tsv(path: Path, text: str) -> Iterator[Row]:
    """Header (0) and rows of a TSV, where a quote is a character as any other."""
    for number, line in enumerate(text.split("\n")):
        row = line.removesuffix("\r")
        if "\r" in row:  # some readers end a row here
            raise InputError(
                f"{path}: row {number} has a text of several lines (a carriage return); expected one sentence"
            )
        yield number, row.split("\t") if row else []


class _Twice:
    """What stands for the value of a key that an object has more than once."""


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    times = Counter(key for key, _ in pairs)
    return {key: value if times[key] == 1 else _Twice() for key, value in pairs}


def _objects(path: Path, column: str, text: str) -> Iterator[tuple[int, Any]]:
    rows = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        rows += 1
        try:
            value: Any = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {number} is no JSON ({error})") from None
        for key in column.split("."):
            if not isinstance(value, dict) or key not in value:
                keys = f"; there are {', '.join(map(repr, value))}" if isinstance(value, dict) else ""
                raise InputError(f"{path}: line {number} has no key {key!r}{keys}")
            value = value[key]
            if isinstance(value, _Twice):
                raise InputError(f"{path}: line {number} has the key {key!r} more than once; expected one value")
        yield rows, value


SPLIT: Mapping[str, Callable[[Path, str], Iterator[Row]]] = {"csv": _csv, "tsv": _tsv}
READERS: Mapping[str, Callable[[Path, str, str], Iterator[tuple[int, Any]]]] = {
    "csv": _column,
    "tsv": _column,
    "jsonl": _objects,
}
