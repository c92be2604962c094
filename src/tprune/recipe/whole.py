"""Budgets of size that count from a model before its vocabulary became smaller."""

from __future__ import annotations

from tprune.budget.size import Budget
from tprune.core.units import SIZES
from tprune.counting.size import Size
from tprune.recipe.schema import Prune


def from_whole(how: Prune, whole: Size, left: Size) -> Prune:
    """The same settings, a size asked for as the number to stay within; other targets stay as they are.

    Args:
        how: settings whose fractions mean the model that was given.
        whole: the size of that model.
        left: its size with the smaller vocabulary. Where this is small enough, it is the number: nothing else has to
            go.

    Raises:
        InputError: a number is asked for that the given model does not exceed.
    """
    unit, value = how.target()
    if unit not in SIZES:
        return how
    budget = Budget(unit, value)
    return how.model_copy(update={unit: min(budget.limit(whole), budget.of(left))})
