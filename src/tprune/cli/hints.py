"""What a refusal of the library means on the command line: options that would help and were not given yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tprune.core.kinds import STOCK, beside
from tprune.core.known_tasks import writes_sentences
from tprune.core.units import SIZES
from tprune.recipe.schema import Recipe
from tprune.support.errors import DivergedError, UnreachableError


@contextmanager
def hinting(recipe: Recipe, trims: bool, stage: Callable[[], str]) -> Iterator[None]:
    """Inside, what cannot be reached and what ran away is told with options that help.

    Args:
        recipe: with what the options said.
        trims: whether the vocabulary is trimmed.
        stage: says which stage is under way.
    """
    try:
        yield
    except DivergedError as error:
        lr = getattr(getattr(recipe, stage(), None), "lr", None)
        raise DivergedError(f"{error}. On the command line: --set {stage()}.lr={lr / 3:.1g}" if lr else error) from None
    except UnreachableError as error:
        raise UnreachableError(f"{error}. On the command line, {ways_out(recipe, trims)}") from None


def ways_out(recipe: Recipe, trims: bool) -> str:
    """Options with which more could be cut than was allowed.

    Args:
        recipe: with what the options said.
        trims: whether the vocabulary is trimmed already.

    Example:
        >>> from tprune.recipe.changes import BUILT_IN, changed
        >>> from tprune.recipe.reader import read_recipe
        >>> ways_out(changed(read_recipe(BUILT_IN), "prune", {}, {"macs": 0.1}, needed=True), trims=True)
        'more can be cut with --kind ffn --kind heads --kind qk --kind vo --kind sublayer --kind width; --set
        prune.floor=0'
    """
    found = list(_ways(recipe, trims))
    return f"more can be cut with {'; '.join(found)}" if found else "nothing more can be cut of this model"


def _ways(recipe: Recipe, trims: bool) -> Iterator[str]:
    how = recipe.prune
    if how.stock:
        yield f"no --stock, which allows {', '.join(STOCK)} alone"
    elif set(more := beside(how.kinds)) - set(how.kinds):
        yield " ".join(f"--kind {kind}" for kind in more)
    if how.floor:
        yield "--set prune.floor=0"
    if how.floors:
        yield "--set 'prune.floors={}'"
    if recipe.task is not None and not writes_sentences(recipe.task):
        return
    if not trims:
        yield "--trim-vocab train"
    if how.output_vocabulary is None and recipe.recover.steps and how.target()[0] not in SIZES:
        yield "--output-vocab N"
