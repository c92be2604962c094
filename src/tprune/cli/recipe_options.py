"""What the options of a whole run change in its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer

from tprune.cli.options.run import Cutting, Settings, Timing, Training
from tprune.core.kinds import STOCK
from tprune.recipe.changes import changed, options, settings, without_training
from tprune.recipe.restrictions import restricted
from tprune.recipe.schema import Recipe
from tprune.support.errors import InputError


@dataclass(frozen=True)
class Options:
    """The groups of options that a recipe has keys for.

    Attributes:
        cutting: what may be cut.
        training: how it is trained.
        timing: how it is timed.
        settings: what `--set` says.
        targets: sizes and times that are asked for, by key of `prune`.
        planned: whether a plan says what is kept, so that no target is needed.
        built_in: whether the recipe is the built-in one.
    """

    cutting: Cutting
    training: Training
    timing: Timing
    settings: Settings
    targets: Mapping[str, float | None]
    planned: bool = False
    built_in: bool = False

    def check(self) -> None:
        """Raises `typer.BadParameter` for options that contradict each other."""
        kinds, steps, words = self.cutting.kinds, self.training.steps, self.cutting.output_vocab
        if self.cutting.stock and kinds and set(kinds) - set(STOCK):
            given = " ".join(f"--kind {kind}" for kind in kinds)
            raise typer.BadParameter(f"--stock cuts {', '.join(STOCK)} only; leave out {given}")
        if self.training.one_shot and steps:
            raise typer.BadParameter(f"--one-shot trains nothing; leave out --steps {steps}")
        if words is not None and (self.training.one_shot or steps == 0):
            instead = "--one-shot" if self.training.one_shot else "--steps 0"
            raise typer.BadParameter(f"--output-vocab {words} has to be learnt; leave out {instead}")
        extra = settings(self.settings.sets or ())
        trains = [key for key in ("prune.steps", "recover.steps") if extra.get(key)]
        if self.training.one_shot and trains:
            raise typer.BadParameter(f"--one-shot trains nothing; leave out --set {trains[0]}={extra[trains[0]]}")

    def sets(self, key: str) -> bool:
        """Whether `--set` says something of a key, or of a part of it."""
        return any(each == key or each.startswith(f"{key}.") for each in settings(self.settings.sets or ()))

    def changed(self, recipe: Recipe, name: str, task: str | None = None) -> Recipe:
        """A recipe with what the options say.

        Args:
            recipe: as read.
            name: of its file, for messages.
            task: of the model, once it is known.

        Raises:
            InputError: a recipe for another task, a value that a recipe cannot have, or not exactly one target.
        """
        sets = self.settings.sets
        where = name + (f" with --set {', '.join(sets)}" if sets else "")
        if task is not None and recipe.task not in (None, task):
            raise InputError(f"{name}: a recipe for {recipe.task}, and the model is for {task}")
        given = options({"task": task, **self._given(recipe)}, settings(sets or ()))
        return changed(recipe, where, given, self.targets, needed=not self.planned)

    def _given(self, recipe: Recipe) -> dict[str, Any]:
        kinds: Any = list(STOCK) if self.cutting.stock else self.cutting.kinds or None
        if kinds is None and self.built_in and (where := restricted(self.timing.runtime)) is not None:
            kinds = [kind for kind in recipe.prune.kinds if kind in where.kinds]
        return {
            "bench.threads": self.timing.threads,
            "bench.batch": self.timing.batch,
            "bench.runtime": self.timing.runtime,
            "bench.precision": self.timing.precision and self.timing.precision.value,
            "bench.max_int8_loss": self.timing.max_int8_loss,
            "seed": self.training.seed,
            "train_precision": self.training.train_precision,
            "data.long_lines": self.training.long_lines,
            "prune.kinds": kinds,
            "prune.objective": self.cutting.objective and self.cutting.objective.value,
            "prune.output_vocabulary": self.cutting.output_vocab,
            "prune.stock": self.cutting.stock or None,
            "recover.steps": self.training.steps,
            **(without_training(self.built_in) if self.training.one_shot else {}),
        }
