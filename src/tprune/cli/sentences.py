"""Which sentences the options name: pairs of files, the files of a recipe, or a data set."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tprune.cli.console import say
from tprune.data.hub import NAMES, read_data_set
from tprune.data.parallel import SPLITS, Corpus, Parallel, Split, read_corpus, read_pair
from tprune.recipe.schema import Data
from tprune.support.errors import InputError

Files = tuple[Path | None, Path | None]
OPTIONS = {"train": "--src and --tgt", "valid": "--valid-src and --valid-tgt", "test": "--test-src and --test-tgt"}


@dataclass(frozen=True)
class Given:
    """What the command line says of sentences: two files for each split, and `--data` with `--columns`."""

    train: Files = (None, None)
    valid: Files = (None, None)
    test: Files = (None, None)
    data: str | None = None
    columns: str | None = None

    def named(self) -> dict[str, tuple[Path, Path]]:
        """The files by split, where any are given.

        Raises:
            InputError: one of a pair without the other, or files beside `--data` or `--columns`.
        """
        found: dict[str, tuple[Path, Path]] = {}
        for split, (source, target) in (("train", self.train), ("valid", self.valid), ("test", self.test)):
            if source is not None and target is not None:
                found[split] = (source, target)
            elif source is not None or target is not None:
                raise InputError(f"{OPTIONS[split]} belong together; got {source or target} alone")
        if found and (other := self.data or self.columns):
            option = "--data" if self.data else "--columns"
            raise InputError(
                f"give either files or a data set, not both; got {OPTIONS[next(iter(found))]}, and {option} {other}"
            )
        return found


def corpus_of(given: Given, spec: Data, needed: tuple[str, ...], seed: int = 0) -> Corpus:
    """The corpus that was named; of a split with more sentences than the recipe's `data.limit`, so many drawn at random.

    Args:
        given: by options.
        spec: the recipe's `data`: its files lie under `--data`, or its data set is taken where nothing was given.
        needed: splits whose files must be given where any are; without test files the validation sentences are scored.
        seed: of the draw.

    Raises:
        InputError: nothing says where sentences are, or what says so cannot be used.
    """
    files = given.named()
    most = {split: spec.limit.get(split, sys.maxsize) for split in SPLITS}
    if files:
        if missing := [split for split in needed if split not in files]:
            raise InputError(
                f"no {' and '.join(missing)} sentences: give {', '.join(OPTIONS[split] for split in missing)}"
            )
        found = read_corpus({split: [files.get(split, files["valid"])] for split in OPTIONS})
    elif given.data is not None and spec.files and Path(given.data).is_dir() and not given.columns:
        under: dict[str, list[tuple[Path, Path]]] = {
            k: [(Path(s), Path(t)) for s, t in v] for k, v in spec.files.items()
        }
        found = read_corpus(under, Path(given.data))
    elif (name := given.data or spec.hub) is not None:
        sets = _data_set(given, spec, name, most, seed)
        if missing := [split for split in SPLITS[:2] if split not in sets]:
            wanted = NAMES[missing[0]]
            raise InputError(f"data set {name!r} has no split {wanted!r}, in a folder a file such as {wanted}.jsonl")
        found = Corpus(sets["train"], sets["valid"], {"test": sets.get("test", sets["valid"])})
    else:
        raise InputError(
            f"no sentences: give {', '.join(OPTIONS[split] for split in needed)}, or --data (a folder or a data set's id)"
        )
    tests = {name: pairs.sample(most["test"], seed) for name, pairs in found.tests.items()}
    return Corpus(found.train.sample(most["train"], seed), found.valid.sample(most["valid"], seed), tests)


def test_of(source: Path | None, target: Path | None, data: str | None, columns: str | None) -> Parallel:
    """The sentences to score: two files, or the test split of a data set. Raises `InputError` as `corpus_of`."""
    given = Given(
        train=(source, target), data=data, columns=columns
    )  # "train", because messages then name these options
    if files := given.named():
        return read_pair(*files["train"])
    if data is None:
        raise InputError("no sentences: give --src and --tgt, or --data (a folder or a data set's id)")
    return _data_set(given, Data(), data, {"test": sys.maxsize})["test"]


def _data_set(given: Given, spec: Data, name: str, limit: Mapping[Split, int], seed: int = 0) -> dict[str, Parallel]:
    source, target = given.columns.split(",") if given.columns else (spec.source, spec.target)
    return read_data_set(name, source.strip(), target.strip(), limit, say, seed)


def vocabulary_of(asked: str | None, corpus: Corpus) -> Parallel | None:
    """The sentences whose tokens are to be kept: `train`, or two files with a comma between them.

    Raises:
        InputError: neither, or files that cannot be read.
    """
    if asked is None:
        return None
    if asked == "train":
        return corpus.train
    source, comma, target = asked.partition(",")
    if not comma:
        raise InputError(f"--trim-vocab {asked}: expected `train`, or two files, SOURCE,TRANSLATIONS")
    return read_pair(Path(source), Path(target))
