"""`tprune prune` and `tprune run`: what the options change in a recipe, and which sentences they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tprune.data import Corpus, Parallel, read_pair
from tprune.errors import InputError
from tprune.recipe import Recipe, check_recipe
from tprune.yaml_text import read_yaml

Files = tuple[Path | None, Path | None]


def changed(
    recipe: Recipe, where: str, given: Mapping[str, Any], targets: Mapping[str, float | None], needed: bool
) -> Recipe:
    """The recipe with what was given on the command line.

    Args:
        recipe: as read.
        where: its name, for messages.
        given: values by the recipe's keys (`prune.kinds`, `seed`); None where nothing was given.
        targets: sizes and times asked for, by key of `prune`; where one is given it replaces the recipe's.
        needed: whether there must be a target in the end; a plan says itself what is kept.

    Raises:
        InputError: a value that a recipe cannot have, or not exactly one target.
    """
    data = recipe.model_dump()
    if any(value is not None for value in targets.values()):
        data["prune"] |= targets
    for key, value in given.items():
        if value is not None:
            put(data, key, value)
    found = check_recipe(data, where)
    if needed:
        found.prune.target()
    return found


def put(data: dict[str, Any], key: str, value: Any) -> None:
    """Sets `section.key` of a recipe's content, whether or not it has the section. Raises `InputError` for a key inside a value."""
    *sections, name = key.split(".")
    for number, part in enumerate(sections, start=1):
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise InputError(f"--set {key}: {'.'.join(sections[:number])} is a value, not a section")
    data[name] = value


def settings(given: Sequence[str]) -> dict[str, Any]:
    """What `--set KEY=VALUE` asks for; values are read as in a recipe.

    Raises:
        InputError: no `=`, no key, or a value that is no YAML.

    Example:
        >>> settings(["prune.search=16", "prune.kinds=[ffn]"])
        {'prune.search': 16, 'prune.kinds': ['ffn']}
    """
    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not value.strip() or not all(key.split(".")):
            raise InputError(f"--set {text}: expected KEY=VALUE, such as prune.search=16")
        found[key] = read_yaml(value, f"--set {text}")
    return found


def pairs_of(train: Files, valid: Files, test: Files) -> dict[str, list[tuple[Path, Path]]]:
    """The files of each split, by pairs; without test files the validation sentences are scored and timed.

    Raises:
        InputError: training or validation files are missing, or one of a pair is.
    """
    found: dict[str, list[tuple[Path, Path]]] = {}
    for split, (source, target), options in (
        ("train", train, "--src and --tgt"), ("valid", valid, "--valid-src and --valid-tgt"), ("test", test, "--test-src and --test-tgt"),
    ):  # fmt: skip
        if (source is None) != (target is None):
            raise InputError(f"{options} belong together; got {source or target} alone")
        if source is not None and target is not None:
            found[split] = [(source, target)]
        elif split != "test":
            raise InputError(f"no {split} sentences: give {options}")
    return {"test": found["valid"], **found}


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
