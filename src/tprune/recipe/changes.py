"""What options and arguments change in the built-in recipe of `tprune prune` and `tprune.compress`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tprune.core.known_tasks import writes_sentences
from tprune.recipe.reader import check_recipe
from tprune.recipe.schema import Recipe
from tprune.recipe.yaml_text import read_yaml
from tprune.support.errors import InputError

DEFAULTS = Path(__file__).parents[1] / "run" / "defaults"
BUILT_IN = DEFAULTS / "prune.translation.yaml"  # what is done with a model that writes sentences


def built_in(task: str) -> Path:
    """The built-in recipe of `tprune prune` for a task.

    It is one of its own, or the one of all tasks that write sentences or
    whose models run in one pass.

    Example:
        >>> built_in("translation").name, built_in("image-classification").name, built_in("text-classification").name
        ('prune.translation.yaml', 'prune.image-classification.yaml', 'prune.one-pass.yaml')
    """
    own = DEFAULTS / f"prune.{task}.yaml"
    if own.exists():
        return own
    return BUILT_IN if writes_sentences(task) else DEFAULTS / "prune.one-pass.yaml"


def changed(
    recipe: Recipe, where: str, given: Mapping[str, Any], targets: Mapping[str, float | None], needed: bool
) -> Recipe:
    """The recipe with what was given on the command line.

    Args:
        recipe: as read.
        where: its name, for messages.
        given: values by the recipe's keys (`prune.kinds`, `seed`); see `options`.
        targets: sizes and times asked for, by key of `prune`; where one is given it replaces the recipe's.
        needed: whether there must be a target in the end; a plan says itself what is kept.

    Raises:
        InputError: a value that a recipe cannot have, or not exactly one target.
    """
    data = recipe.model_dump()
    if any(value is not None for value in targets.values()):
        data["prune"] |= targets
    for key, value in given.items():
        put(data, key, value)
    found = check_recipe(data, where)
    if needed:
        found.prune.target()
    return found


def options(given: Mapping[str, Any], sets: Mapping[str, Any]) -> dict[str, Any]:
    """What options ask for, by the recipe's keys, where they were given; what `--set` says wins, an empty value too.

    Example:
        >>> options({"seed": 3, "bench.threads": None}, {"prune.speedup": None})
        {'seed': 3, 'prune.speedup': None}
    """
    return {**{key: value for key, value in given.items() if value is not None}, **sets}


def without_training(built_in: bool) -> dict[str, Any]:
    """What one shot means, by the recipe's keys: nothing is trained.

    In the built-in recipe sublayers may then be emptied too.

    Example:
        >>> without_training(built_in=True)
        {'prune.steps': 0, 'recover.steps': 0, 'prune.floor': 0.0}
    """
    return {"prune.steps": 0, "recover.steps": 0, **({"prune.floor": 0.0} if built_in else {})}


def put(data: dict[str, Any], key: str, value: Any) -> None:
    """Sets `section.key` of a recipe's content, whether or not it has the section.

    Raises `InputError` for a key inside a value.
    """
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
            raise InputError(f"--set {text or 'got nothing'}: expected KEY=VALUE, such as prune.search=16")
        found[key] = read_yaml(value, f"--set {text}")
    return found
