"""`tprune prune` and `tprune run`: what the options change in a recipe, and which sentences they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tprune.data import Corpus, Parallel, read_pair
from tprune.errors import InputError
from tprune.latency import Setting
from tprune.recipe import Recipe, check_recipe

Files = tuple[Path | None, Path | None]


def changed(
    recipe: Recipe, where: str, bench: Mapping[str, int | None], top: Mapping[str, Any], *,
    runtime: str = "onnxruntime", stock: bool = False, kinds: Sequence[str] | None = None, steps: int | None = None,
    planned: bool = False, empties: bool = False, **targets: float | None,
) -> Recipe:  # fmt: skip
    """The recipe with what was given on the command line; a target given there replaces the recipe's.

    Args:
        recipe: as read.
        where: its name, for messages.
        bench: threads and batch.
        top: keys of the recipe itself.
        runtime: what runs the model.
        stock: only what a stock configuration expresses.
        kinds: of couplings that may be cut.
        steps: of recovery.
        planned: a plan says what is kept; no target is needed.
        empties: a sublayer may be left with nothing, which costs least where nothing is trained afterwards.
        targets: sizes and times asked for, by key of `prune`.

    Raises:
        InputError: a value that a recipe cannot have, a runtime there is none of, or not exactly one target.
    """
    Setting(runtime=runtime)
    data = recipe.model_dump()
    data |= {key: value if isinstance(value, int) else str(value) for key, value in top.items() if value is not None}
    if any(value is not None for value in targets.values()):
        data["prune"] |= targets
    data["bench"] |= {key: value for key, value in bench.items() if value is not None}
    if kinds:
        data["prune"]["kinds"] = [str(kind) for kind in kinds]
    if stock:
        data["prune"] |= {"stock": True, "kinds": ["ffn"]}
    if steps is not None:
        data["recover"]["steps"] = steps
    if empties:
        data["prune"]["floor"] = 0.0
    found = check_recipe(data, where)
    if not planned:
        found.prune.target()
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
