"""What verbs say and read: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tprune.run.lookup import model_at
from tprune.support.errors import InputError, printable


def show(results: Mapping[str, Any], as_json: bool, table: Callable[[Mapping[str, Any]], str]) -> None:
    """Results, as JSON or as text."""
    print(printable(json.dumps(results, indent=1, ensure_ascii=False) if as_json else table(results)))


def say(text: str) -> None:
    """A line for a person."""
    print(printable(f"tprune: {text}"), file=sys.stderr)


def chosen(name: str, dense: bool) -> str:
    """The model that a name means; of a run, it says which. Raises `InputError` as `tprune.run.lookup.model_at`."""
    return told(name, model_at(name, dense), dense)


def told(name: str, where: str, dense: bool) -> str:
    """Says which of a run's models is meant, and returns it."""
    if where != name:
        say(
            f"{name} is a run: its dense model, {where}"
            if dense
            else f"{name} is a run: its pruned model, {where} (--dense for the other)"
        )
    return where


def typed() -> str:
    """The command as it was typed; it takes a killed run up."""
    return shlex.join(["tprune", *sys.argv[1:]])


def stdin_lines() -> list[str]:
    """Standard input, one sentence a line.

    Raises `InputError` naming the line that is not UTF-8, or too long to be one.
    """
    from tprune.data.parallel import LONGEST

    if sys.stdin is None:
        raise InputError("standard input is closed; expected one sentence a line")
    most = 8 * LONGEST  # bytes of a line; a character has at most 4
    lines: list[str] = []
    while line := sys.stdin.buffer.readline(most):  # what never ends its line is not read to the end
        number = len(lines) + 1
        if len(line) == most:
            raise InputError(
                f"standard input: line {number} has {most:,} bytes or more; expected a sentence, of at most "
                f"{LONGEST:,} characters"
            )
        try:
            lines.append(line.removesuffix(b"\n").decode("utf-8").removesuffix("\r").removeprefix("\ufeff"))
        except UnicodeDecodeError as error:
            raise InputError(
                f"standard input: line {number} is not UTF-8 (byte {error.start + 1} of the line)"
            ) from None
        if len(lines[-1]) > LONGEST:
            raise InputError(
                f"standard input: line {number} has {len(lines[-1]):,} characters; expected a sentence, of at most "
                f"{LONGEST:,}"
            )
    return lines
