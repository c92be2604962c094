"""Pairs of sentences from tables (CSV, TSV, JSON lines), `.gz` or not; sentences alone from text files, too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from tprune.core.data import Sources, paths
from tprune.data.pairs import ScoredPairs, SentencePairs
from tprune.data.parallel import contents, sentence
from tprune.data.read_texts import TEXT, read_texts
from tprune.data.tables import column_names, is_table, read_columns
from tprune.data.texts import Texts
from tprune.support.errors import InputError, OptionError

FIRST, SECOND = ("sentence1", "text1", "first"), ("sentence2", "text2", "second")  # usual names of columns
SCORE = ("score", "similarity", "label")
PairsOfFiles = ScoredPairs | SentencePairs | Texts


def read_sentence_pairs(sources: Sources, columns: Sequence[str] = ()) -> PairsOfFiles:
    """Pairs of sentences with their scores, pairs without, or sentences alone.

    Args:
        sources: CSV, TSV or JSONL files, or text files of sentences; all of one kind.
        columns: of the first sentences, of the second ones, and of the scores; the first two for pairs without scores,
            one for sentences alone. If not given, `sentence1`, `sentence2` and, where it is there, `score`.

    Raises:
        InputError: a file cannot be read or lacks a column, a row has no two sentences or no number for a score, or
            files are of several kinds; names file and row.
    """
    if len(columns) > 3:
        raise OptionError(f"--columns {','.join(columns)}; expected at most three, such as sentence1,sentence2,score")
    sets = [_read(path, columns) for path in paths(sources)]
    if not sets:
        raise InputError("no files; expected at least one")
    if other := next((each for each in sets if type(each) is not type(sets[0])), None):
        what = [f"{each.name} holds {' and '.join(each.COLUMNS)}" for each in (sets[0], other)]
        raise InputError(f"{what[0]}, {what[1]}; expected one kind")
    return reduce(add, sets)


def _read(path: Path, columns: Sequence[str]) -> PairsOfFiles:
    raw = contents(path) if is_table(path) else b""
    chosen = tuple(columns) or (_usual(path, column_names(path, raw)) if raw else ())
    if len(chosen) < 2:
        found = read_texts(path, chosen)
        if not isinstance(found, Texts):
            raise InputError(f"{path}: holds token ids; expected sentences")
        return found
    if not raw:
        raise InputError(f"{path}: no table; expected .csv, .tsv or .jsonl (.gz too) with columns {', '.join(chosen)}")
    rows = [(f"{path}: row {row}", values) for row, values in read_columns(path, chosen, raw)]
    places = tuple(place for place, _ in rows)
    first, second = (tuple(_text(values[side], place) for place, values in rows) for side in (0, 1))
    if len(chosen) == 2:
        return SentencePairs(first, second, path.name, places)
    scores = tuple(_score(values[2], place, chosen[2]) for place, values in rows)
    return ScoredPairs(first, second, scores, path.name, places)


def _usual(path: Path, there: Sequence[str]) -> tuple[str, ...]:
    """Those columns of a table that have usual names: of pairs, else of sentences alone."""
    found = [next((name for name in usual if name in there), None) for usual in (FIRST, SECOND, SCORE, TEXT)]
    if None in found[:2] and found[3] is None:
        known = ", ".join(map(repr, there))
        raise InputError(
            f"{path}: no columns {FIRST[0]} and {SECOND[0]}, and none called {' or '.join(TEXT)}; there are {known}; "
            "name them with --columns"
        )
    chosen = found[3:] if None in found[:2] else found[:3]
    return tuple(name for name in chosen if name is not None)


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{place} has {value!r}; expected a sentence")
    return sentence(value, place)


def _score(value: Any, place: str, column: str) -> float:
    try:
        return float("nan" if isinstance(value, bool) or not isinstance(value, str | int | float) else value)
    except ValueError:
        raise InputError(f"{place} has {value!r} in {column!r}; expected a number") from None
