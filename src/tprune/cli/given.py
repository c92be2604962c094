"""What the command line says of data, which task it is for, and whether its options belong to that task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tprune.core.known_tasks import has_plugins, task_of_config, writes_sentences
from tprune.realise.model_files import CONFIG, content
from tprune.run.translation import TRAINED
from tprune.runtimes.artefact import layout_file, read_layout
from tprune.support.errors import InputError, OptionError

PAIRS = {
    "train": ("--src", "--tgt"),
    "valid": ("--valid-src", "--valid-tgt"),
    "test": ("--test-src", "--test-tgt"),
}
TRAINING_PAIRS = ", ".join(" and ".join(PAIRS[name]) for name in ("train", "valid"))


@dataclass(frozen=True)
class Given:
    """What options say of data.

    Attributes:
        files: by set (train, valid, test), as every task reads them.
        sides: files of sentences by option, without its dashes (`valid_src`).
        data: a data set.
        columns: of tables and data sets, with commas between them.
        task: its name, where the command line says it.
    """

    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    sides: Mapping[str, Path] = field(default_factory=dict)
    data: str | None = None
    columns: str | None = None
    task: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of columns."""
        return tuple(name.strip() for name in (self.columns or "").split(",") if name.strip())

    def pairs(self) -> dict[str, tuple[Path, Path]]:
        """Source and target files by set. Raises `InputError` for one of a pair without the other."""
        found: dict[str, tuple[Path, Path]] = {}
        for name, (first, second) in PAIRS.items():
            source, target = (self.sides.get(option.strip("-").replace("-", "_")) for option in (first, second))
            if source is not None and target is not None:
                found[name] = (source, target)
            elif source is not None or target is not None:
                raise OptionError(f"{first} and {second} belong together; got {source or target} alone")
        return found

    def check_one_source(self) -> None:
        """Raises `InputError` where data is named in several ways, or in half a way."""
        told = []
        if pairs := self.pairs():
            told.append(" and ".join(PAIRS[next(iter(pairs))]))
        if self.files:
            told.append(f"--{next(iter(self.files))}")
        if self.data is not None:
            told.append(f"--data {self.data}")
        elif pairs and self.columns:
            told.append(f"--columns {self.columns}")
        if len(told) > 1:
            raise OptionError(f"name the data in one way, by files or as a data set; got {told[0]}, and {told[1]}")

    def check_task(self, task: str, *needed: str) -> None:
        """Raises `InputError` for data options of sentence pairs, where the task's models write no sentences.

        Names the right ones.

        Args:
            task: its name.
            needed: the sets that this verb needs, such as `train`.
        """
        if writes_sentences(task):
            return
        wrong = [f"--{name.replace('_', '-')}" for name in self.sides] + (["--data"] if self.data is not None else [])
        if wrong:
            raise OptionError(f"{wrong[0]} is for translation, and the model is for {task}; give {options(needed)}")
        self.check_files(needed)

    def check_files(self, needed: Sequence[str]) -> None:
        """Raises `InputError` where a set that is needed has no files."""
        if missing := [name for name in needed if name not in self.files]:
            raise InputError(f"no {' and '.join(missing)} data: give {options(missing)}")


def options(sets: Sequence[str]) -> str:
    """The options of some sets.

    Example:
        >>> options(["train", "valid"])
        '--train and --valid'
    """
    return " and ".join(f"--{name}" for name in sets)


def task_name(given: Given, model: str | None, recipe: str | None = None, *, scores: bool = False) -> str:
    """The task of a command line, known without loading a model wherever that can be.

    Where plugins enter tasks a model is loaded, for these are asked first whether they are made for it.

    Args:
        given: its options of data.
        model: a model's folder, an exported folder or a hub id; None where the recipe trains one.
        recipe: the recipe's task, for that case; that of the models that a recipe can train if not given.
        scores: whether the verb needs test data alone.

    Raises:
        InputError: the model is made for no known task, or cannot be read.
    """
    if given.task is not None:
        return given.task
    if model is None:
        return recipe or TRAINED
    if layout_file(Path(model)) is not None:
        return read_layout(Path(model)).task
    if Path(model, CONFIG).is_file():
        named = None if has_plugins() else task_of_config(content(Path(model, CONFIG)))
        return named or task_of_class(model)
    if given.sides or given.data is not None:  # whether the model is for it shows when it is loaded
        return task_of_class(model) if has_plugins() else TRAINED
    if not given.files:
        sets, pairs = (("test",), "--src and --tgt") if scores else (("train", "valid"), TRAINING_PAIRS)
        raise InputError(f"no data: give {options(sets)}, for translation {pairs}, or --data")
    return task_of_class(model)


def task_of_class(model: str) -> str:
    """The task of a model by its class. Raises `InputError` where it is made for none that is known."""
    from tprune.core.known_tasks import task_of
    from tprune.realise.checkpoint import load

    return task_of(load(model)).name
