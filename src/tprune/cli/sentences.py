"""Which sentence pairs the options name: pairs of files, tables, the files of a recipe, or a data set."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tprune.cli.console import say
from tprune.cli.given import PAIRS, Given
from tprune.data.hub import NAMES, read_data_set
from tprune.data.parallel import SPLITS, Corpus, Parallel, Split, read_corpus, read_pair
from tprune.recipe.schema import Data
from tprune.support.errors import InputError, OptionError

Pairs = dict[str, list[tuple[Path, Path]]]
OPTIONS = {split: f"{source} and {target}" for split, (source, target) in PAIRS.items()}


def corpus_of(given: Given, spec: Data, needed: tuple[str, ...], seed: int = 0) -> Corpus:
    """The corpus that was named.

    Of a split with more sentences than the recipe's `data.limit`, so many drawn at random.

    Args:
        given: by options.
        spec: the recipe's `data`: its files lie under `--data`, or its data set is taken where nothing was given.
        needed: splits whose files must be given where any are; without test files the validation sentences are scored.
        seed: of the draw.

    Raises:
        InputError: nothing says where sentences are, or what says so cannot be used.
    """
    given.check_one_source()
    most = {split: spec.limit.get(split, sys.maxsize) for split in SPLITS}
    found = _from_files(given, spec, needed) or _from_set(given, spec, most, seed)
    if found is None:
        raise InputError(
            f"no sentences: give {', '.join(OPTIONS[split] for split in needed)}, or --data (a folder or a data "
            "set's id)"
        )
    tests = {name: pairs.sample(most["test"], seed) for name, pairs in found.tests.items()}
    return Corpus(found.train.sample(most["train"], seed), found.valid.sample(most["valid"], seed), tests)


def _from_files(given: Given, spec: Data, needed: Sequence[str]) -> Corpus | None:
    files = named_pairs(given)
    if files:
        if missing := [split for split in needed if split not in files]:
            wanted = (
                ", ".join(OPTIONS[split] for split in missing)
                if given.sides
                else ", ".join(map("--{}".format, missing))
            )
            raise InputError(f"no {' and '.join(missing)} sentences: give {wanted}")
        return read_corpus({split: files.get(split, files["valid"]) for split in SPLITS})
    if given.data is not None and spec.files and Path(given.data).is_dir() and not given.columns:
        under: Pairs = {k: [(Path(s), Path(t)) for s, t in v] for k, v in spec.files.items()}
        return read_corpus(under, Path(given.data))
    return None


def _from_set(given: Given, spec: Data, most: Mapping[Split, int], seed: int) -> Corpus | None:
    if (name := given.data or spec.hub) is None:
        return None
    sets = _data_set(given, spec, name, most, seed)
    if missing := [split for split in SPLITS[:2] if split not in sets]:
        wanted = NAMES[missing[0]]
        raise InputError(f"data set {name!r} has no split {wanted!r}, in a folder a file such as {wanted}.jsonl")
    return Corpus(sets["train"], sets["valid"], {"test": sets.get("test", sets["valid"])})


def named_pairs(given: Given) -> Pairs:
    """The files of sentences and of translations by split; of tables, both columns."""
    found: Pairs = {split: [pair] for split, pair in given.pairs().items()}
    for split, files in given.files.items():
        source, target = _two_columns(given, f"--{split} {files[0]}")
        found[split] = [(Path(f"{file}:{source}"), Path(f"{file}:{target}")) for file in files]
    return found


def test_of(given: Given) -> Parallel:
    """The sentences to score: two files, tables, or the test split of a data set.

    Raises `InputError` as `corpus_of`.
    """
    given.check_one_source()
    files = named_pairs(given)
    if pairs := files.get("test") or files.get("train"):  # of this verb, --src and --tgt are what is scored
        sets = [read_pair(*pair) for pair in pairs]
        return sum(sets[1:], sets[0])
    if given.data is None:
        raise InputError("no sentences: give --src and --tgt, or --data (a folder or a data set's id)")
    return _data_set(given, Data(), given.data, {"test": sys.maxsize})["test"]


def _data_set(given: Given, spec: Data, name: str, limit: Mapping[Split, int], seed: int = 0) -> dict[str, Parallel]:
    source, target = _two_columns(given, f"--data {name}") if given.columns else (spec.source, spec.target)
    return read_data_set(name, source, target, limit, say, seed)


def _two_columns(given: Given, where: str) -> tuple[str, str]:
    if len(given.names) != 2:
        said = f"--columns {given.columns}" if given.columns else "no --columns"
        raise OptionError(f"{where}: {said}; expected the columns of sentences and translations, SOURCE,TARGET")
    return given.names[0], given.names[1]


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
        raise OptionError(f"--trim-vocab {asked}: expected `train`, or two files, SOURCE,TRANSLATIONS")
    return read_pair(Path(source), Path(target))
