"""Recipes from YAML files.

Keys are checked; numbers such as `1e-4` are numbers; mistakes are told with line and key.
"""

from __future__ import annotations

import difflib
import reprlib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tprune.recipe.renamed import new_name
from tprune.recipe.schema import Recipe
from tprune.recipe.yaml_text import read_yaml
from tprune.support.errors import InputError
from tprune.support.regular_file import regular_bytes

LONGEST = 1_000_000  # bytes


def read_recipe(path: str | Path) -> Recipe:
    """Reads and checks a recipe file.

    Raises:
        InputError: naming the file, the line and the key, with the nearest known one for an unknown key.
    """
    path = Path(path)
    raw = regular_bytes(path, "a recipe in YAML", LONGEST)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(f"{path}: line {line} is not UTF-8; expected a recipe in YAML") from None
    data = read_yaml(text, str(path))
    if not isinstance(data, dict):
        found = "an empty file" if data is None else type(data).__name__
        raise InputError(f"{path}: expected a recipe (keys and values), got {found}")
    return check_recipe(data, str(path), text)


def check_recipe(data: dict[str, Any], where: str = "recipe", text: str = "") -> Recipe:
    """Checks a recipe's content; with its text, errors name the line. Raises `InputError` as `read_recipe` does."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        first, says = _explain(error)
        line = _line(text, first) if text else None
        raise InputError(f"{where}{f', line {line}' if line else ''}: {says}") from None


def _explain(error: ValidationError) -> tuple[list[str], str]:
    """Where the first mistake is, and what it is."""
    found = error.errors()
    first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])  # a misspelt key is also a missing one
    place = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        if new := new_name(place):
            return place, f"key {'.'.join(place)!r} was renamed; use {new!r}"
        known = _keys(place[:-1])
        near = difflib.get_close_matches(place[-1], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; expected one of {', '.join(known)}" if known else ""
        return place, f"unknown key {'.'.join(place)[:100]!r}{hint}"
    if first["type"] == "missing":
        return place, f"key {'.'.join(place)!r} is missing"
    says = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected").replace("tuple", "list")
    if not place:  # about several keys, which it names
        return place, says
    return place, f"{'.'.join(place)}: {says}, got {reprlib.repr(first.get('input'))}"


def _line(text: str, place: list[str]) -> int | None:
    """The line of a key, or of the nearest key around it that is there."""
    node, line = yaml.compose(text, yaml.SafeLoader), None
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if getattr(key, "value", None) == part]
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            found = [(node.value[int(part)], node.value[int(part)])]
        else:
            found = []
        if not found:
            break
        line, node = found[0][0].start_mark.line + 1, found[0][1]
    return line


def _keys(place: list[str]) -> list[str]:
    section: Any = Recipe
    for part in place:
        field = section.model_fields.get(part) if hasattr(section, "model_fields") else None
        section = field.annotation if field is not None else None
    return list(section.model_fields) if hasattr(section, "model_fields") else []
