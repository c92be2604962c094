"""Parallel text from a data set: of the Hugging Face hub, or of a folder that the `datasets` library reads."""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tprune.data.folders import check_lines, checked_settings, table_files
from tprune.data.parallel import LONGEST, Parallel, Split, sampled
from tprune.data.tables import half_a_pair
from tprune.support.errors import InputError

if TYPE_CHECKING:  # torch and transformers take seconds, and wrong options are told before
    from tprune.support.reporting import Report

NAMES: Mapping[Split, str] = {"train": "train", "valid": "validation", "test": "test"}


def read_data_set(
    name: str, source: str, target: str, limit: Mapping[Split, int], report: Report = lambda text: None, seed: int = 0
) -> dict[str, Parallel]:
    """Loads those of the splits train, validation and test that a data set has, as `train`, `valid` and `test`.

    Args:
        name: a hub id, or a folder with CSV, JSON lines or Parquet files of these splits.
        source: its column of sentences; with dots for what lies inside a column (`translation.en`).
        target: its column of translations.
        limit: so many pairs of a split, drawn at random; only these splits are read.
        report: is told how many pairs are left out: those with a side that is no sentence (blank, of several lines, or
            of more than `LONGEST` characters).
        seed: of the draw.

    Raises:
        InputError: the data set, all of its splits, or a column is missing, the hub cannot be reached, or a row of a
            table in a folder has more or fewer fields than the header.
    """
    import datasets

    local = Path(name)
    if local.is_file():
        raise InputError(
            f"{name}: a file; expected a folder or a data set's id; files of sentences go to --src and --tgt"
        )
    here = local.parent != Path() and local.parent.is_dir()
    if not local.is_dir() and (here or name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1):
        raise InputError(f"{name}: no such folder; expected one with the corpus, or a data set's id on the hub")
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(50)  # it says what it raises, too
    with _cache(local) as cache:
        return _read(name, source, target, limit, report, seed, cache)


@contextmanager
def _cache(local: Path) -> Iterator[str | None]:
    """Where the library keeps its copy: of a folder of the user's none stays, and none comes into the home folder."""
    if not local.is_dir():
        yield None  # downloads, where Hugging Face's libraries keep them
        return
    with tempfile.TemporaryDirectory() as folder:
        yield folder


def _read(
    name: str, source: str, target: str, limit: Mapping[Split, int], report: Report, seed: int, cache: str | None
) -> dict[str, Parallel]:
    import datasets

    local = Path(name)
    files: list[Path] = []
    try:
        files = table_files(local, [NAMES[split] for split in limit]) if local.is_dir() else []
        loaded = datasets.load_dataset(name, cache_dir=cache, **checked_settings(files, (source, target)))
    except InputError:
        raise
    except Exception as error:  # the hub and the readers raise their own zoo of errors; all mean the same to the user
        check_lines(files, (source, target))
        first = _first(error)
        said = " ".join(str(first).split())[:300] or "nothing in it"
        where = "read" if local.is_dir() else "loaded from the hub"
        raise InputError(
            f"data set {name!r} could not be {where} ({type(first).__name__}: {said}); expected a hub id, or a folder "
            "with CSV, JSON lines or Parquet files of train, validation and test; or name the files of sentences "
            "instead"
        ) from None
    found = {split: name for split, name in NAMES.items() if split in limit and name in loaded}
    if not found:
        raise InputError(
            f"data set {name!r}: no split {' or '.join(repr(NAMES[split]) for split in limit)}; there are "
            f"{', '.join(map(repr, loaded))}"
        )
    return {
        split: _pairs(loaded[key], f"{name}, {key}", source, target, limit[split], report, seed)
        for split, key in found.items()
    }


def _pairs(rows: Any, where: str, source: str, target: str, most: int, report: Report, seed: int) -> Parallel:
    places = sampled(len(rows), most, seed)
    rows = rows.select(places)
    sides = [_column(rows, where, column, places) for column in (source, target)]
    kept = [(a, b) for a, b in zip(*sides, strict=True) if _is_sentence(a) and _is_sentence(b)]
    if len(kept) < len(sides[0]):
        report(
            f"{where}: {len(sides[0]) - len(kept):,} of {len(sides[0]):,} pairs left out: a side is blank, of several "
            f"lines, or of more than {LONGEST:,} characters"
        )
    if not kept:
        raise InputError(f"data set {where}: no pair of sentences in columns {source!r} and {target!r}")
    return Parallel(tuple(a for a, _ in kept), tuple(b for _, b in kept), where)


def _column(rows: Any, where: str, column: str, places: Sequence[int]) -> list[Any]:
    """A column's values. A name with dots is first looked for as it is."""
    outer, *inner = [column] if column in rows.column_names else column.split(".")
    if outer not in rows.column_names:
        known = ", ".join(map(repr, rows.column_names))
        raise InputError(f"data set {where}: no column {outer!r}; there are {known} (--columns SOURCE,TARGET)")
    values = list(rows[outer])
    for key in inner:
        if not all(isinstance(value, dict) and key in value for value in values):
            raise InputError(f"data set {where}: column {outer!r} holds no {key!r}")
        values = [value[key] for value in values]
    for place, value in zip(places, values, strict=True):
        if value is not None and not isinstance(value, str):
            raise InputError(
                f"data set {where}: row {place + 1} of column {column!r} holds {type(value).__name__}; expected text"
            )
    return values


def _first(error: BaseException) -> BaseException:
    """Where a chain of errors began: what a reader says, not what is said of its saying so."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error


def _is_sentence(text: Any) -> bool:
    return (
        isinstance(text, str)
        and 0 < len(text) <= LONGEST
        and not any(sign in text for sign in "\n\r\0")
        and any(unicodedata.category(sign)[0] not in "ZC" for sign in text)
        and half_a_pair(text) is None
    )
