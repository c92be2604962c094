"""Sizes that a runtime likes on this machine, in a run: said, kept with its recipe, and the same when it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tprune.costs.latency.table import TimingConfig
from tprune.costs.multiples.store import preferred
from tprune.recipe.schema import Recipe
from tprune.run.folder import Run
from tprune.runtimes.runtime import runtime_named
from tprune.support.files import read_json
from tprune.support.reporting import Report


def with_liked_multiples(run: Run) -> Run:
    """The run with the multiples that its runtime likes.

    A run that has begun goes on with those it began with, whatever was tuned since.
    """
    began = None if run.force else _began_with(run)
    if began is None:
        found = liked(run.recipe, timing_of(run.recipe), run.progress.note, run.tunable)
    else:
        found = {kind: size for kind, size in began.items() if kind in _free(run.recipe, run.tunable)}
    return replace(run, recipe=with_multiples(run.recipe, found), tuned=found)


def _free(recipe: Recipe, tunable: bool) -> tuple[str, ...]:
    """The kinds whose multiple is no wish of the user's."""
    return tuple(kind for kind in recipe.prune.kinds if tunable or kind not in recipe.prune.multiple)


def timing_of(recipe: Recipe) -> TimingConfig:
    """How a recipe times its models."""
    how = recipe.bench
    return TimingConfig(threads=how.threads, batch=how.batch, runtime=how.runtime, precision=how.numbers)


def liked(recipe: Recipe, setting: TimingConfig, report: Report, tunable: bool = False) -> dict[str, int]:
    """The multiples that a runtime likes on this machine.

    Args:
        recipe: with the kinds that may be cut.
        setting: the runtime, the precision and the threads that the model is for.
        report: called with a line where there are any.
        tunable: whether what was tuned takes the place of the recipe's multiples; else of none but kinds that it says
            nothing of.

    Raises:
        InputError: what was tuned cannot be read.
    """
    runtime, known = runtime_named(setting.runtime), recipe.prune.multiple
    found, tuned = preferred(runtime, setting.precision, setting.threads, _free(recipe, tunable))
    found = {kind: size for kind, size in found.items() if kind in tuned or kind not in known}
    if found:
        sizes = ", ".join(
            f"{kind} of {size} ({'tuned on this machine' if kind in tuned else 'its own'})"
            for kind, size in found.items()
        )
        report(f"sizes are multiples that {setting.runtime} likes: {sizes}; prune.multiple says otherwise")
    return found


def with_multiples(recipe: Recipe, multiple: Mapping[str, int]) -> Recipe:
    """A recipe with other multiples of some kinds."""
    known = {**recipe.prune.multiple, **multiple}
    return recipe.model_copy(update={"prune": recipe.prune.model_copy(update={"multiple": known})})


def _began_with(run: Run) -> dict[str, int] | None:
    """The tuned multiples of the run that the directory holds; None where it holds none."""
    marker = run.out / "run.json"
    return dict(read_json(marker).get("tuned") or {}) if marker.exists() else None
