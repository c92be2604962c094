"""Folders of tables for the `datasets` library, which reads rows of too many fields shifted and never says so."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tprune.data.parallel import contents
from tprune.data.tables import check_objects, check_rows, decoded
from tprune.support.errors import InputError
from tprune.support.regular_file import check_regular

SEPARATED, TABULATED, OBJECTS = (".csv",), (".tsv",), (".jsonl", ".ndjson")


def table_files(folder: Path, splits: Collection[str]) -> list[Path]:
    """The files that the library would read for these splits.

    Raises:
        InputError: one is no regular file.
    """
    import datasets

    with tempfile.TemporaryDirectory() as cache:  # else it leaves a lock in the home folder
        found = datasets.load_dataset_builder(str(folder), cache_dir=cache).config.data_files or {}
    files = [Path(file) for split, some in found.items() if str(split) in splits for file in some]
    local = [path for path in files if path.exists()]  # not what lies in an archive
    for path in local:
        check_regular(path, "a table")
    return local


def checked_settings(files: Sequence[Path], columns: Sequence[str]) -> dict[str, Any]:
    """Checks all rows of CSV and TSV files, and says how the library is to read them: as they are.

    Raises:
        InputError: a row with more or fewer fields than the header, or two columns of one name; names file and row.
    """
    tables = [path for path in files if _kind(path) in (*SEPARATED, *TABULATED)]
    for path in tables:
        check_rows(path, columns, decoded(path, contents(path)))
    if not tables or len(tables) < len(files):
        return {}
    settings: dict[str, Any] = {"keep_default_na": False}  # "None" and "NA" are words
    if all(_kind(path) in TABULATED for path in tables):
        settings["quoting"] = csv.QUOTE_NONE
    elif any(_kind(path) in TABULATED for path in tables):
        raise InputError(f"{tables[0].parent}: holds CSV and TSV files; expected tables of one kind")
    return settings


def check_lines(files: Sequence[Path], columns: Sequence[str]) -> None:
    """Looks for the line of a JSONL that the library could not read. Raises `InputError` where it is found."""
    for path in files:
        if _kind(path) in OBJECTS:
            check_objects(path, columns, decoded(path, contents(path)))


def _kind(path: Path) -> str:
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()
