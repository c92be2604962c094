"""Pages from templates: what goes into one is escaped, and what may not be shown is made visible."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]"
)  # a lone surrogate is a byte of a path that is no UTF-8


def template(name: str) -> Template:
    """A page's template; text that goes into it is escaped, and what it lacks is an error."""
    return Environment(
        loader=PackageLoader("tprune", "report"), autoescape=True, undefined=StrictUndefined, finalize=visible
    ).get_template(name)


def visible(value: Any) -> Any:
    r"""Text with its control characters written out; anything else as it is.

    Example:
        >>> visible("a\x1b[2Jb"), visible(3)
        ('a\\x1b[2Jb', 3)
    """
    if not isinstance(value, str) or not CONTROL.search(value):
        return value
    found = CONTROL.sub(lambda sign: ascii(sign[0])[1:-1], str(value))
    return Markup(found) if isinstance(value, Markup) else found
