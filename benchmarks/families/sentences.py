"""English sentences of many kinds, without labels, for an encoder that is to stay general.

Trained on and selected by sentences of some files, scored on pairs of other files: captions, news, short phrases,
questions to a bank, and encyclopedic prose.
"""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.other_tasks.bert_sst2 import read_sst2

SENTENCES = {"train": 5000, "valid": 100}  # of each kind, at most
PAIRS = 400  # of each kind
SHORTEST = 12  # letters of a sentence

Reader = Callable[[Path], list[str]]


def lines(path: Path) -> list[str]:
    """The lines of a packed file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.strip() for line in file]


def questions(path: Path) -> list[str]:
    """The first column of a packed table."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [row[0].strip() for row in list(csv.reader(file))[1:]]


def prose(path: Path) -> list[str]:
    """The sentences of WikiText, without headings and marks of unknown words."""
    found = [part.strip() for line in lines(path) if not line.startswith("=") for part in line.split(" . ")]
    return [part for part in found if "<unk>" not in part and len(part.split()) <= 60]


def phrases(path: Path) -> list[str]:
    """The texts of SST-2."""
    return read_sst2(path)[0]


# by kind: the reader, files of training and validation, files of the test
KINDS: Mapping[str, tuple[Reader, Sequence[str], Sequence[str]]] = {
    "captions": (lines, ["multi30k/train.en.gz"], ["multi30k/test_2016_flickr.en.gz"]),
    "news": (
        lines,
        [f"wmt_newstest_en_de/newstest{year}.en.gz" for year in (2013, 2014, 2015)],
        ["wmt_newstest_en_de/newstest2016.en.gz"],
    ),
    "phrases": (lines, ["tatoeba_deu_eng/train.en.gz"], ["tatoeba_deu_eng/test.en.gz"]),
    "questions": (questions, ["banking77/train.csv.gz"], ["banking77/test.csv.gz"]),
    "prose": (prose, ["wikitext2/valid.txt.gz"], ["wikitext2/test.txt.gz"]),
}


def drawn(reader: Reader, files: Iterable[Path], seed: int, without: Iterable[str] = ()) -> list[str]:
    """The sentences of some files in random order, each once."""
    seen = {*without}
    found = sorted(
        {text for file in files for text in reader(file) if len(text) >= SHORTEST and "\t" not in text} - seen
    )
    random.Random(seed).shuffle(found)
    return found


def write_sentences(data: Path, out: Path) -> None:
    """`train.txt`, `valid.txt`: a sentence a line; `test.tsv`: pairs of sentences of a kind, none of them in training.

    Args:
        data: the folder of the corpora.
        out: where the files go.
    """
    splits: dict[str, list[str]] = {"train": [], "valid": []}
    pairs: list[tuple[str, str]] = []
    for reader, files, tests in KINDS.values():
        known = drawn(reader, [data / name for name in files], seed=0)
        unseen = drawn(reader, [data / name for name in tests], seed=1, without=known)
        splits["valid"] += known[: SENTENCES["valid"]]
        splits["train"] += known[SENTENCES["valid"] :][: SENTENCES["train"]]
        pairs += list(zip(unseen[0 : 2 * PAIRS : 2], unseen[1 : 2 * PAIRS : 2], strict=False))
    for split, sentences in splits.items():
        (out / f"{split}.txt").write_text("".join(f"{one}\n" for one in sentences), encoding="utf-8")
    rows = "".join(f"{one}\t{two}\n" for one, two in pairs)
    (out / "test.tsv").write_text("sentence1\tsentence2\n" + rows, encoding="utf-8")
