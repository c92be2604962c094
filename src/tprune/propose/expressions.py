"""Expressions and calls of Python, written out."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tprune.propose.templates import OPEN

WIDTH = 112  # of a line


def quoted(text: str) -> str:
    """A string as an expression.

    Args:
        text: any.

    Example:
        >>> print(quoted("head"), quoted('"'))
        "head" "\\""
    """
    return json.dumps(text, ensure_ascii=False)


def opened_at(variable: str, rest: str, before: str = "") -> str:
    """An f-string that begins with the value of a variable.

    Args:
        variable: its name.
        rest: what follows.
        before: what stands before it.

    Example:
        >>> opened_at("layer", ".mlp"), opened_at("number", "", "h.")
        ('f"{layer}.mlp"', 'f"h.{number}"')
    """
    return "f" + quoted(f"{_plain(before)}{{{variable}}}{_plain(rest)}")


def name_of(name: str) -> str:
    """The name of a module as an expression, in which `layer` is the name of a layer.

    Args:
        name: with `{layer}` where a layer's name stands, if it does.

    Example:
        >>> name_of("{layer}.mlp"), name_of("head")
        ('f"{layer}.mlp"', '"head"')
    """
    before, layer, rest = name.partition(OPEN)
    return opened_at("layer", rest, before) if layer else quoted(name)


def _plain(text: str) -> str:
    """What stands for itself in an f-string."""
    return text.replace("{", "{{").replace("}", "}}")


def tuple_of(parts: Sequence[str]) -> str:
    """A tuple of expressions.

    Args:
        parts: the expressions.

    Example:
        >>> tuple_of(["1"]), tuple_of(["1", "2"]), tuple_of([])
        ('(1,)', '(1, 2)', '()')
    """
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def call(name: str, args: Sequence[str], before: str = "") -> list[str]:
    """A call in one line, or with an argument a line.

    Args:
        name: of what is called.
        args: expressions; one of several lines is given line by line.
        before: what stands before the call, such as `yield `.

    Example:
        >>> call("Site", ['"encoder"', "0"], "yield ")
        ['yield Site("encoder", 0)']
    """
    short = f"{before}{name}({', '.join(args)})"
    if len(short) <= WIDTH and "\n" not in short:
        return [short]
    return [f"{before}{name}(", *map(_argument, args), ")"]


def _argument(arg: str) -> str:
    """A line of an argument; those that are written over several lines have their commas."""
    return f"    {arg}" if arg.endswith("(") or arg.startswith("    ") else f"    {arg},"
