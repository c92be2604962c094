"""The commands that stored numbers name."""

from __future__ import annotations


def arguments_of(command: str) -> str:
    """The options of a stored command, without its script, which may lie elsewhere since.

    Example:
        >>> arguments_of("python benchmarks/one_shot.py --model DIR --data DIR")
        '--model DIR --data DIR'
    """
    _, found, options = command.partition("--")
    return f"{found}{options}"
