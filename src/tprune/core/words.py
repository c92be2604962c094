"""What a task calls its examples and predictions, for pages, tables and messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tprune.core.known_tasks import TASKS


@dataclass(frozen=True)
class Words:
    """Words of a task.

    Attributes:
        one: an example, with its article.
        many: several examples.
        predicted: several predictions.
        source: the label of an example that is shown.
        size: what the multiplications of a model are counted for.
        output: what a loss is the mean of.

    Example:
        >>> Words().many, Words(many="images").many
        ('examples', 'images')
    """

    one: str = "an example"
    many: str = "examples"
    predicted: str = "predictions"
    source: str = "Input"
    size: str = "an example"
    output: str = "output"

    def count(self, number: int) -> str:
        """So many examples.

        Example:
            >>> Words(one="an image", many="images").count(1_000), Words(one="an image", many="images").count(1)
            ('1,000 images', '1 image')
        """
        return f"{number:,} {self.one.partition(' ')[2] if number == 1 else self.many}"


PLAIN = Words()


@runtime_checkable
class HasWords(Protocol):
    """A task with words of its own."""

    @property
    def words(self) -> Words:
        """What it calls its examples."""
        ...


def words_of(task: object) -> Words:
    """The words of a task; plain ones for a task that has none.

    Example:
        >>> words_of(None).one
        'an example'
    """
    return task.words if isinstance(task, HasWords) else PLAIN


def words_for(name: str) -> Words:
    """The words of a task by its name; plain ones for a task that is not installed here."""
    return words_of(TASKS[name]) if name in TASKS else PLAIN
