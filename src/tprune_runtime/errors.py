"""The errors a user is meant to read: one line each, no traceback on the command line."""

import re

LONGEST = 1500  # characters of a message; what is quoted from a damaged file may be as long as the file
USERS = 3  # exit code of a process where what it was given is at fault

ENDS = (KeyboardInterrupt, SystemExit, GeneratorExit)  # what ends a program on purpose, and is no error

# what a terminal obeys instead of showing it: control characters, marks that turn the direction of writing round, other
# ends of lines, and half characters (of paths that are not UTF-8), which cannot be written at all
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""A text in which control characters are shown escaped; line ends and tabs stay. Of JSON, it is the same JSON.

    Example:
        >>> print(printable("a\x1b[2Jb"))
        a\u001b[2Jb
    """
    return HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class TpruneError(Exception):
    """Something the user can mend: says what was given, what was expected and where.

    Example:
        >>> len(str(TpruneError("x" * 10_000)))
        1500
    """

    def __str__(self) -> str:
        message = printable(super().__str__()).replace("\n", "\\n")  # a name with a line end in it is no second message
        half = (LONGEST - 5) // 2
        return message if len(message) <= LONGEST else f"{message[: LONGEST - 5 - half]} ... {message[-half:]}"


class InputError(TpruneError, ValueError):
    """A file, recipe, model directory or argument that cannot be used as given."""
