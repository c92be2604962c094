"""Weights that are tied: in a small model the same as in the model that it is cut from, whatever configurations say."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn


def untie_(small: nn.Module, model: nn.Module) -> None:
    """Gives names of one parameter parameters of their own where they have them in another model, in place.

    Classes tie by their configuration; checkpoints with other values for both names, such as those of Flan-T5, are
    loaded untied all the same.

    Args:
        small: holds no values yet.
        model: that it is cut from.

    Example:
        >>> tied, apart = (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)) for _ in range(2))
        >>> tied[1].weight = tied[0].weight
        >>> untie_(tied, apart)
        >>> tied[1].weight is tied[0].weight
        False
    """
    there = dict(model.named_parameters(remove_duplicate=False))
    for names in _names(small):
        first: dict[int, str] = {}
        for name in (name for name in names if name in there):
            first.setdefault(id(there[name]), name)
        for name in list(first.values())[1:]:
            _own_(small, [each for each in names if there.get(each) is there[name]])


def _names(model: nn.Module) -> Iterator[list[str]]:
    """The names of each parameter that has several."""
    found: dict[Tensor, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found.setdefault(parameter, []).append(name)
    return (names for names in found.values() if len(names) > 1)


def _own_(model: nn.Module, names: list[str]) -> None:
    old = model.get_parameter(names[0])
    new = nn.Parameter(old.detach().clone(), requires_grad=old.requires_grad)
    for name in names:
        where, _, what = name.rpartition(".")
        setattr(model.get_submodule(where), what, new)
