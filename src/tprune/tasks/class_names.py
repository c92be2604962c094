"""Names of classes: which output of a model a label of a file means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from tprune.support.errors import InputError

FEW = 20  # names in a message


class Labeled(Protocol):
    """Data with a label for each item."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Names or numbers of classes."""
        ...

    def place(self, index: int) -> str:
        """Where an item was read."""
        ...


@dataclass(frozen=True)
class Classes:
    """The class of each item by its number, and what the numbers are called."""

    numbers: tuple[int, ...]
    names: Mapping[int, str]


def classes_of(data: Labeled, model: nn.Module) -> Classes:
    """The classes of labelled data, as a model numbers them.

    Names are those of `label2id` in the model's configuration; labels that are numbers are the model's own. Where no
    configuration names classes, names are numbered in sorted order, and there must be as many as the model has outputs.

    Args:
        data: with labels.
        model: whose configuration may have `label2id` and `num_labels`.

    Raises:
        InputError: a label is none of the model's classes; names it with file and line.
    """
    config: Any = getattr(model, "config", None)
    known: dict[str, int] = dict(getattr(config, "label2id", None) or {})
    outputs: int | None = getattr(config, "num_labels", None)
    named = bool(known) and known.keys() != {
        f"LABEL_{i}" for i in range(len(known))
    }  # transformers' own, without meaning
    called = {number: name for name, number in known.items()} if named else {}
    labels = set(data.labels)
    if known and labels <= known.keys():
        return Classes(tuple(known[label] for label in data.labels), {number: name for name, number in known.items()})
    if all(label.isdecimal() and label.isascii() for label in labels):
        numbers = tuple(map(int, data.labels))
        if (
            outputs is not None
            and (odd := next((i for i, each in enumerate(numbers) if each >= outputs), None)) is not None
        ):
            raise InputError(f"{data.place(odd)}: class {numbers[odd]}; the model has {outputs}, from 0")
        return Classes(numbers, called)
    if named:
        odd = next(i for i, label in enumerate(data.labels) if label not in known)
        raise InputError(f"{data.place(odd)}: no class {data.labels[odd]!r}; the model's are {_listed(list(known))}")
    ordered = sorted(labels)
    if outputs is not None and len(ordered) != outputs:
        raise InputError(
            f"{data.name}: {len(ordered)} classes ({_listed(ordered)}), and the model has {outputs} outputs without "
            "names; expected as many, numbers, or `label2id` in its config.json"
        )
    by_name = {name: number for number, name in enumerate(ordered)}
    return Classes(tuple(by_name[label] for label in data.labels), dict(enumerate(ordered)))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")
