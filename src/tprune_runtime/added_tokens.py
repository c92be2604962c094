"""Tokens that were added to a tokeniser.

Text is split at them, as transformers does, before a SentencePiece model sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class AddedToken:
    """A token that stands for itself wherever its text occurs.

    `lstrip` and `rstrip` take the spaces on that side along; with `single_word` it is none beside anything but a space.
    """

    content: str
    id: int
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False


class Splitter:
    """Splits text at added tokens: of two that begin at the same place the longer, of others the one that begins first.

    Example:
        >>> list(Splitter([AddedToken("<a>", 7, lstrip=True)]).split("to <a>!"))
        [('to', False), ('<a>', True), ('!', False)]
    """

    def __init__(self, added: Iterable[AddedToken], special: Iterable[str] = ()) -> None:
        self._added = {token.content: token for token in added}
        self._whole = {*self._added, *special} if self._added else set()
        longest_first = sorted(filter(None, self._added), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def split(self, text: str) -> list[tuple[str, bool]]:
        """The parts of a text that are not empty, each with whether it is a token as it stands."""
        if self._pattern is None:
            return [(text, False)] if text else []
        parts = self._parts(text)
        for index, part in enumerate(parts):
            if part in self._added:
                self._settle(self._added[part], parts, index)
        return [(part, part in self._whole) for part in parts if part]

    def _parts(self, text: str) -> list[str]:
        """The tokens, and what is between them."""
        assert self._pattern is not None
        parts, done = [], 0
        for found in self._pattern.finditer(text):
            parts += [text[done : found.start()], found[0]]
            done = found.end()
        return [part for part in (*parts, text[done:]) if part]

    @staticmethod
    def _settle(token: AddedToken, parts: list[str], index: int) -> None:
        """Strips the neighbours of a token, or gives it back to one of them, in place."""
        left = parts[index - 1] if index > 0 else ""
        right = parts[index + 1] if index + 1 < len(parts) else ""
        if token.rstrip and right:
            parts[index + 1] = right.lstrip()
        if token.lstrip and left:
            parts[index - 1] = left.rstrip()
        if token.single_word:  # judged by the neighbours as they were
            if left and left[-1] != " ":
                parts[index - 1] += token.content
                parts[index] = ""
            elif right and right[0] != " ":
                parts[index + 1] = token.content + parts[index + 1]
                parts[index] = ""


def tangled(contents: Sequence[str]) -> tuple[str, str] | None:
    """A token and another one inside which it lies, touching neither end.

    Transformers splits text at such a pair by accident.

    Example:
        >>> tangled(["<name>", "name"]), tangled(["<name>", "<name"])
        (('name', '<name>'), None)
    """
    known = {*contents}
    for outer in contents:
        inside = outer[1:-1]
        for start, stop in combinations(range(len(inside) + 1), 2):
            if inside[start:stop] in known:
                return inside[start:stop], outer
    return None
