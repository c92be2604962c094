"""Options in groups: a frozen dataclass declares a group once, and every verb that takes it has its options."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_args, get_type_hints

from typer.core import TyperCommand

Verb = Callable[..., None]


class GroupedCommand(TyperCommand):
    """A command whose help has a heading for each group of options."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # of click, or of typer's own copy of it
        """Writes arguments and options, group by group."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if (line := parameter.get_help_record(ctx)) is not None:
                plain = "Arguments" if parameter.param_type_name == "argument" else "Options"
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or plain, []).append(line)
        for heading, lines in sections.items():
            with formatter.section(heading):
                formatter.write_dl(lines)


def expanded(verb: Verb) -> Verb:
    """A verb as typer reads it: each parameter that is a group becomes the options of the group.

    Args:
        verb: whose parameters are options (`Annotated`) or groups: dataclasses of options, with a heading `PANEL`.

    Raises:
        ValueError: two groups have an option of the same name.
    """
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(verb, eval_str=True).parameters.values():
        if is_group(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            parameters += options_of(parameter.annotation)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(verb)
    def flat(**given: Any) -> None:
        made = {name: group(**{f.name: given.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        verb(**given, **made)

    signature = inspect.Signature(parameters)
    flat.__signature__ = signature  # type: ignore[attr-defined]  # read by Typer
    flat.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    return flat


def is_group(hint: object) -> bool:
    """Whether a parameter's type is a group of options."""
    return isinstance(hint, type) and is_dataclass(hint) and hasattr(hint, "PANEL")


def options_of(group: Any) -> Iterator[inspect.Parameter]:
    """The options of a group as parameters of a function, each under the group's heading."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        kind, info = get_args(hints[field.name])
        placed = copy.copy(info)
        placed.rich_help_panel = group.PANEL
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        hint: Any = Annotated[kind, placed]
        yield inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
