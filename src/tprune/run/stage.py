"""The stages of a run by name, in their order; which of them a recipe needs. Nothing heavy is imported here."""

from __future__ import annotations

from tprune.recipe.schema import Recipe
from tprune.support.errors import InputError

STAGES = (
    "train", "trim", "spell", "time", "analyze", "teach", "prune", "shrink", "recover", "export", "evaluate", "bench",
)  # fmt: skip


def planned(recipe: Recipe, trims: bool = False, given: bool = False) -> tuple[str, ...]:
    """The stages that a recipe needs.

    Args:
        recipe: as checked.
        trims: whether the vocabulary is cut to some sentences.
        given: whether a plan is given, so that nothing is measured for one.

    Example:
        >>> from tprune.recipe.schema import Data, Prune, Recover, Stage
        >>> few = Recipe(data=Data(), train=Stage(steps=0), prune=Prune(steps=0, macs=0.5), recover=Recover(steps=0))
        >>> planned(few, trims=True)
        ('train', 'trim', 'analyze', 'prune', 'shrink', 'recover', 'export', 'evaluate', 'bench')
    """
    wanted = {
        "trim": trims,
        "spell": recipe.prune.written is not None,
        "time": recipe.prune.by_loss and not given,
        "analyze": recipe.analyze.steps > 0,
        "teach": recipe.prune.translates or recipe.recover.translates,
    }
    return tuple(stage for stage in STAGES if wanted.get(stage, True))


def check_until(stage: str, recipe: Recipe, trims: bool = False, given: bool = False) -> None:
    """Whether a run of this recipe can stop after a stage. Raises `InputError` listing those it has."""
    if stage not in (stages := planned(recipe, trims, given)):
        raise InputError(f"--until {stage}: this run has no such stage; its stages are {', '.join(stages)}")
