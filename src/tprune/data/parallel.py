"""Line-aligned parallel text: reading it strictly, and saying exactly what is wrong with it."""

from __future__ import annotations

import dataclasses
import gzip
import io
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Literal

from tprune.core.data import sampled as sampled
from tprune.data.rows import SHORT, Rows
from tprune.data.splits import Splits
from tprune.data.tables import broken_pair, column_of, half_a_pair, read_column
from tprune.support.errors import InputError
from tprune.support.regular_file import largest_file, regular_bytes
from tprune.support.texts import not_a_list

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
LONGEST = 20_000  # characters of a sentence
PACKED = 300  # how many times smaller gzip makes text, at most


@dataclass(frozen=True)
class Parallel(Rows):
    """Sentence pairs: `source[i]` translates to `target[i]`.

    Attributes:
        source: one sentence a line.
        target: their translations, in the same order.
        name: for messages.
        files: where the sides were read from, for messages.
        lines: the line of each pair in these files, where it is not its place here.
        joined: the files of several sets that are joined here.

    Raises:
        InputError: the two sides differ in length, or are empty.

    Example:
        >>> len(Parallel(("a cat",), ("eine Katze",)))
        1
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    name: str = "corpus"
    files: tuple[str, str] | None = None  # where the sides were read from, for messages
    lines: tuple[int, ...] = ()  # the line of each pair in these files, where it is not its place here
    joined: tuple[tuple[str, str], ...] = ()  # the files of several sets that are joined here
    COLUMNS: ClassVar[tuple[str, ...]] = ("source", "target")

    def __post_init__(self) -> None:
        for side, given in (("source", self.source), ("target", self.target)):
            if slip := not_a_list(given):
                raise InputError(f"{self.name}: the {side} is {slip}")
        if len(self.source) != len(self.target):
            raise InputError(
                f"{self.name}: the source has {len(self.source)} lines and the target {len(self.target)}; "
                "line-aligned files have equally many"
            )
        if not self.source:
            raise InputError(f"{self.name}: no sentences; expected at least one line")

    def sample(self, n: int, seed: int = 0) -> Parallel:
        """`n` pairs drawn at random without replacement, in the order of the corpus.

        All of them where there are no more.

        Example:
            >>> Parallel(tuple("abcdef"), tuple("uvwxyz")).sample(3).source
            ('a', 'd', 'f')
        """
        return self.picked(sampled(len(self), n, seed))

    def place(self, index: int) -> str:
        """File and line of a pair's source, for messages."""
        return place(self, 0, index)

    def digest(self) -> str:
        """A hash of all pairs."""
        return sha256(repr((self.source, self.target)).encode()).hexdigest()[:SHORT]

    def line(self, index: int) -> int:
        """The line, from 1, that a pair has in the files it was read from."""
        return self.lines[index] if self.lines else index + 1

    def picked(self, places: Sequence[int]) -> Parallel:
        """The pairs at these places, in this order; they keep their lines."""
        if list(places) == list(range(len(self))):
            return self
        source, target = (tuple(side[i] for i in places) for side in (self.source, self.target))
        lines = tuple(self.line(i) for i in places)
        return dataclasses.replace(self, source=source, target=target, lines=lines)

    def __add__(self, other: Parallel) -> Parallel:
        joined = tuple(
            files for each in (self, other) for files in (*each.joined, *((each.files,) if each.files else ()))
        )
        return Parallel(
            self.source + other.source, self.target + other.target, f"{self.name}+{other.name}", joined=joined
        )


def check_parallel(given: object, name: str) -> None:
    """Raises `InputError` where an argument is no `Parallel`."""
    if not isinstance(given, Parallel):
        raise InputError(f"{name}: {type(given).__name__}; expected Parallel, sentences with their translations")


@dataclass(frozen=True)
class Corpus(Splits[Parallel]):
    """A training, a validation and one or more test sets of sentence pairs."""

    check = staticmethod(check_parallel)


def read_lines(path: str | Path) -> tuple[str, ...]:
    r"""Reads one sentence a line: UTF-8, split on ``\n`` only (U+2028 stays inside a line), `.gz` or plain.

    `FILE.csv:COLUMN`, likewise `.tsv` and `.jsonl`, reads one column of a table; see `tprune.data.tables`.

    Raises:
        InputError: naming file and line or row, for a missing or empty file, what is no regular file, a broken gzip,
            bytes that are not UTF-8, half of a surrogate pair, a byte-order mark, CRLF line ends, NUL, an empty line,
            or one of more than `LONGEST` characters.
    """
    if (table := column_of(path)) is not None:
        return tuple(sentence(text, f"{table[0]}: row {row}") for row, text in read_column(*table, contents(table[0])))
    path = Path(path)
    raw = contents(path)
    if raw.startswith(b"\xef\xbb\xbf"):
        raise InputError(
            f"{path}: line 1 starts with a byte-order mark; expected plain UTF-8 (remove the first 3 bytes)"
        )
    lines = raw.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    if not lines:
        raise InputError(f"{path}: the file is empty; expected one sentence a line")
    return tuple(decoded_line(line, path, number) for number, line in enumerate(lines, start=1))


def contents(path: Path) -> bytes:
    """A file's bytes, unpacked where it is a `.gz`.

    Raises:
        InputError: it cannot be read, is no regular file, is larger than memory, is no complete gzip file, or unpacks
            to what no text would.
    """
    raw = regular_bytes(path, "a text file")
    if path.suffix.lower() != ".gz":
        return raw
    parts, size, most = [], 0, largest_file()
    try:
        with gzip.open(io.BytesIO(raw)) as packed:
            while part := packed.read(1 << 20):
                size += len(part)
                if size > max(PACKED * len(raw), 1 << 24):
                    raise InputError(f"{path}: unpacks to more than {PACKED} times its size; no text does")
                if size > most:
                    raise InputError(
                        f"{path}: unpacks to more than {most:,} bytes; expected a text file of at most these"
                    )
                parts.append(part)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a complete gzip file ({error})") from None
    return b"".join(parts)


def decoded_line(line: bytes, path: Path, number: int, most: int = LONGEST) -> str:
    """The text of a line, of at most so many characters. Raises `InputError` as `read_lines`."""
    if line.endswith(b"\r"):
        raise InputError(
            f"{path}: line {number} ends in CR LF; expected LF alone (convert with: sed -i 's/\\r$//' FILE)"
        )
    if b"\0" in line:  # UTF-16 is better known by these than by its first byte
        raise InputError(f"{path}: line {number} holds a NUL byte; expected text")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise InputError(
            f"{path}: line {number} is not UTF-8 (byte 0x{byte:02x} at column {error.start + 1})"
        ) from None
    return sentence(text, f"{path}: line {number}", most)


def sentence(text: str, where: str, most: int = LONGEST) -> str:
    """The text, if it may be a sentence of at most so many characters (a tokeniser would take minutes over a book).

    Raises:
        InputError: it is blank, too long, or holds what no file of sentences can; begins with `where`.
    """
    if "\0" in text:
        raise InputError(f"{where} holds a NUL byte; expected text")
    if text.startswith("\ufeff"):
        raise InputError(f"{where} starts with a byte-order mark; expected plain UTF-8")
    if (half := half_a_pair(text)) is not None:
        raise InputError(f"{where} {broken_pair(half)}")
    if all(unicodedata.category(sign)[0] in "ZC" for sign in text):  # spaces, controls, and what has no width
        raise InputError(f"{where} is empty; every line holds a sentence")
    if len(text) > most:
        raise InputError(f"{where} has {len(text):,} characters; expected a sentence, of at most {most:,}")
    return text


def one_line(text: str) -> str:
    """A text on one line: whatever a reader may take for the end of a line becomes a space.

    Example:
        >>> one_line("a cat\\nsat\\u2028down\\r\\n")
        'a cat sat down'
    """
    return " ".join(text.splitlines())


def read_pair(source: str | Path, target: str | Path, name: str | None = None) -> Parallel:
    """Reads two line-aligned files. Raises `InputError` when they differ in length, naming both.

    Args:
        source: a file of UTF-8 text with one sentence a line.
        target: the file with their translations, line by line.
        name: for messages; the source's file name if not given.
    """
    src, tgt = read_lines(source), read_lines(target)
    if len(src) != len(tgt):
        raise InputError(
            f"{source} has {len(src)} lines and {target} has {len(tgt)}; line-aligned files have equally many"
        )
    return Parallel(src, tgt, name or Path(source).name, (str(source), str(target)))


def place(pairs: Parallel, which: int, index: int) -> str:
    """File and line of a sentence (`which` 0) or a translation (1), for messages.

    Files of joined sets are read once more.

    Example:
        >>> place(Parallel(("a cat",), ("eine Katze",), "toy"), 1, 0)
        'toy: target line 1'
    """
    if pairs.files is not None:
        return f"{pairs.files[which]}: line {pairs.line(index)}"
    text = (pairs.source, pairs.target)[which][index]
    for files in pairs.joined:
        lines = read_lines(files[which])
        if text in lines:
            return f"{files[which]}: line {lines.index(text) + 1}"
    return f"{pairs.name}: {('source', 'target')[which]} line {pairs.line(index)}"


def read_corpus(files: Mapping[str, Sequence[tuple[Path, Path]]], root: Path | None = None) -> Corpus:
    """Reads `{"train": [(src, tgt)], "valid": [...], "test": [...]}`.

    Several pairs of one split are joined, tests kept apart.

    Args:
        files: for each split the pairs of files; relative to `root` if it is given.
        root: the folder relative names start from.

    Raises:
        InputError: a split is missing or a file cannot be used.
    """
    missing = [split for split in SPLITS if not files.get(split)]
    if missing:
        raise InputError(
            f"no files for {', '.join(missing)}; expected source and target files for train, valid and test"
        )
    base = root or Path()
    sets = {split: [read_pair(base / s, base / t) for s, t in files[split]] for split in SPLITS}
    joined = {split: sum(pairs[1:], pairs[0]) for split, pairs in sets.items() if split != "test"}
    return Corpus(joined["train"], joined["valid"], _named(files["test"], sets["test"]))


def _named(files: Sequence[tuple[Path, Path]], sets: Sequence[Parallel]) -> dict[str, Parallel]:
    """Test sets by file name, or by the path as given where several files are called alike."""
    names = [pair.name for pair in sets]
    if len(set(names)) < len(names):
        names = [str(source) for source, _ in files]
    if len(set(names)) < len(names):
        raise InputError(
            f"test set {next(n for n in names if names.count(n) > 1)} is given twice; give every test set once"
        )
    return {name: dataclasses.replace(pair, name=name) for name, pair in zip(names, sets, strict=True)}
