"""Documents with their summaries: two columns of tables (CSV, TSV, JSON lines), or two line-aligned files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from tprune.core.data import Sources, paths
from tprune.data.parallel import Parallel, contents, read_pair, sentence
from tprune.data.read_texts import LONGEST
from tprune.data.tables import column_names, is_table, read_columns
from tprune.support.errors import InputError, OptionError

DOCUMENT = ("document", "article", "dialogue", "text")  # usual names of columns
SUMMARY = ("summary", "highlights", "abstract")


def read_documents(sources: Sources, columns: Sequence[str] = ()) -> Parallel:
    """Documents as sources and summaries as targets, each in one line: line ends inside a column become spaces.

    Args:
        sources: CSV, TSV or JSONL files; or files of documents and of summaries in turns, one a line.
        columns: of the documents and of the summaries; usual names such as `document` and `summary` if not given.

    Raises:
        InputError: a file cannot be read or lacks a column, or a row has no text; names file and row.
    """
    if columns and len(columns) != 2:
        raise OptionError(f"--columns {','.join(columns)}; expected two, such as document,summary")
    files = paths(sources)
    if files and all(map(is_table, files)):
        return reduce(add, [_table(path, columns) for path in files])
    if not files or len(files) % 2 or any(map(is_table, files)):
        raise InputError(
            f"{len(files)} files ({', '.join(map(str, files[:4]))}); expected tables with documents and summaries, "
            "or a file of documents and one of summaries"
        )
    return reduce(add, [read_pair(a, b) for a, b in zip(files[::2], files[1::2], strict=True)])


def _table(path: Path, columns: Sequence[str]) -> Parallel:
    raw = contents(path)
    chosen = tuple(columns) or tuple(_column(path, raw, usual) for usual in (DOCUMENT, SUMMARY))
    rows = [
        tuple(_text(value, f"{path}: row {row}", column) for value, column in zip(values, chosen, strict=True))
        for row, values in read_columns(path, chosen, raw)
    ]
    return Parallel(tuple(a for a, _ in rows), tuple(b for _, b in rows), path.name)


def _column(path: Path, raw: bytes, usual: Sequence[str]) -> str:
    there = column_names(path, raw)
    if (found := next((name for name in usual if name in there), None)) is None:
        known = ", ".join(map(repr, there))
        raise InputError(f"{path}: no column called {' or '.join(usual)}; there are {known}; name both with --columns")
    return found


def _text(value: Any, place: str, column: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{place} has {value!r} in {column!r}; expected text")
    return sentence(" ".join(value.split()), f"{place}, column {column!r},", LONGEST)
