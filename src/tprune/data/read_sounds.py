"""Recordings and their transcripts from tables of paths (CSV, TSV, JSON lines), or folders with both side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from tprune.core.data import Sources, paths
from tprune.data.parallel import contents, read_lines, sentence
from tprune.data.sounds import Recordings
from tprune.data.tables import column_names, is_table, read_columns
from tprune.support.errors import InputError, OptionError

SOUND, TEXT = ("path", "audio", "file"), ("text", "sentence", "transcript", "transcription")  # usual names of columns
SOUNDS = (".flac", ".mp3", ".ogg", ".opus", ".wav")  # what names of recordings end with, in folders
EXPECTED = (
    "a table (.csv, .tsv or .jsonl) with the path of a recording and its transcript in each row, or a folder of "
    f"recordings ({', '.join(SOUNDS)}), each beside a .txt of the same name with its transcript"
)


def read_recordings(sources: Sources, columns: Sequence[str] = ()) -> Recordings:
    """Recordings with what is said in them.

    Args:
        sources: CSV, TSV or JSONL files, in which paths are relative to the folder of the table; or folders, where each
            recording has its transcript in a `.txt` of the same name beside it.
        columns: of the paths and of the transcripts; `path`, `audio` or `file`, and `text`, `sentence`, `transcript` or
            `transcription`, if not given.

    Raises:
        InputError: a file cannot be read or lacks a column, or a row names no file or has no transcript; names table
            and row, or the recording without one.
    """
    if columns and len(columns) != 2:
        raise OptionError(f"--columns {','.join(columns)}; expected two, such as path,text")
    sets = [_folder(path) if path.is_dir() else _table(path, columns) for path in paths(sources)]
    if not sets:
        raise InputError(f"no files; expected {EXPECTED}")
    return reduce(add, sets)


def _table(table: Path, columns: Sequence[str]) -> Recordings:
    if not is_table(table):
        raise InputError(f"{table}: expected {EXPECTED}")
    raw = contents(table)
    chosen = tuple(columns) or tuple(_column(table, raw, usual) for usual in (SOUND, TEXT))
    sounds, texts, places = list[Path](), list[str](), list[str]()
    for row, (sound, text) in read_columns(table, chosen, raw):
        where = f"{table}: row {row}"
        sounds.append(_file(sound, table.parent, where))
        if not isinstance(text, str):
            raise InputError(f"{where} has {text!r} in {chosen[1]!r}; expected a transcript")
        texts.append(sentence(text, where))
        places.append(f"{where}, {sounds[-1]}")
    return Recordings(tuple(sounds), tuple(texts), table.name, tuple(places))


def _folder(folder: Path) -> Recordings:
    sounds = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUNDS)
    if not sounds:
        raise InputError(f"{folder}: no recordings; expected {EXPECTED}")
    if alone := [sound for sound in sounds if not sound.with_suffix(".txt").is_file()]:
        raise InputError(
            f"{folder}: {len(alone)} of {len(sounds)} recordings have no transcript, such as {alone[0]}; expected it "
            f"in {alone[0].with_suffix('.txt').name} beside it"
        )
    texts = tuple(_transcript(sound.with_suffix(".txt")) for sound in sounds)
    return Recordings(tuple(sounds), texts, folder.name, tuple(map(str, sounds)))


def _transcript(file: Path) -> str:
    lines = [line for line in read_lines(file) if line.strip()]
    if not lines:
        raise InputError(f"{file}: holds nothing; expected the transcript of the recording beside it")
    return sentence(" ".join(lines), str(file))


def _file(value: Any, folder: Path, where: str) -> Path:
    found = folder / value if isinstance(value, str) and value.strip() else None
    if found is None or not found.is_file():
        raise InputError(f"{where} has {value!r} for a recording; expected the path of a file, from {folder}")
    return found


def _column(path: Path, raw: bytes, usual: Sequence[str]) -> str:
    there = column_names(path, raw)
    if (found := next((name for name in usual if name in there), None)) is None:
        known = ", ".join(map(repr, there))
        raise InputError(f"{path}: no column called {' or '.join(usual)}; there are {known}; name both with --columns")
    return found
