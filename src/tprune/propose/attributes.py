"""Which attributes of a module its code reads sizes from: watched while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice, product
from typing import Any

import torch
from torch import nn

from tprune.propose.trace import Run

TRIED = 6  # ways to read sizes that are tried, where several attributes have one value
Numbers = Mapping[str, int]


def read_numbers(model: nn.Module, run: Run, modules: Sequence[str]) -> dict[str, dict[str, int]]:
    """By module, the whole numbers that its code reads in a forward pass, from itself and from its configuration.

    Args:
        model: any.
        run: its output on some inputs.
        modules: their names.
    """
    found: dict[str, dict[str, int]] = {name: {} for name in modules}
    with torch.no_grad(), _listening(model, found):
        run(model)
    for name, numbers in found.items():
        module = model.get_submodule(name)
        config = numbers.pop("config", None)
        if config is not None:
            said = _config_reads(model, module, run)
            numbers |= {f"config.{key}": value for key, value in said.items()}
    return found


@contextmanager
def _listening(model: nn.Module, found: Mapping[str, dict[str, int]]) -> Iterator[None]:
    """Modules whose attributes are entered when they are read."""
    classes = {name: type(model.get_submodule(name)) for name in found}

    def heard(kind: type[nn.Module], numbers: dict[str, int]) -> type[nn.Module]:
        def read(self: Any, name: str) -> Any:
            value = kind.__getattribute__(self, name)
            if name == "config":
                numbers["config"] = 0
            elif type(value) is int and not name.startswith("_") and name != "layer_idx":
                numbers[name] = value
            return value

        return type(kind.__name__, (kind,), {"__getattribute__": read, "__module__": kind.__module__})

    for name, numbers in found.items():
        model.get_submodule(name).__class__ = heard(classes[name], numbers)
    try:
        yield
    finally:
        for name, kind in classes.items():
            model.get_submodule(name).__class__ = kind


class _Heard:
    """A configuration whose numbers are entered when they are read."""

    def __init__(self, config: Any, numbers: dict[str, int]) -> None:
        self.__dict__["_of"], self.__dict__["_numbers"] = config, numbers

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._of, name)
        if type(value) is int and not name.startswith("_"):
            self._numbers[name] = value
        return value


def _config_reads(model: nn.Module, module: Any, run: Run) -> dict[str, int]:
    config, numbers = module.config, dict[str, int]()
    module.config = _Heard(config, numbers)
    try:
        with torch.no_grad():
            run(model)
    finally:
        module.config = config
    return numbers


def ways(read: Numbers, held: Numbers, heads: int, kv: int, dim: int) -> list[dict[str, str]]:
    """The ways in which `tprune.families.attention.Reads` can say where sizes are read, the likeliest first.

    Args:
        read: what a module's code reads.
        held: the whole numbers that the module itself has.
        heads: query heads.
        kv: key-value heads.
        dim: dimensions of a head.
    """
    wanted = {"dim": dim, "heads": heads, "total": heads * dim, "shared": heads // kv, "kv": kv}
    if kv == heads:
        del wanted["shared"]
    choices: dict[str, list[str]] = {}
    for slot, value in wanted.items():
        fitting = [name for name, number in read.items() if number == value]
        if slot == "dim":
            fitting = [name for name in fitting if "." not in name]
        if slot in ("dim", "heads"):  # rows need both, whether code reads them or not
            fitting += [name for name, number in held.items() if number == value and name not in fitting]
        choices[slot] = fitting if slot == "dim" else [*fitting, ""]
    found = []
    for names in islice(product(*choices.values()), 200):
        given = {slot: name for slot, name in zip(choices, names, strict=True) if name}
        if len(set(given.values())) == len(given):
            found.append(given)
    found.sort(key=len, reverse=True)
    return found[:TRIED]
