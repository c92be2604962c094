"""How a stage of a recipe trains."""

from __future__ import annotations

from tprune.recipe.schema import Stage, Taught
from tprune.train.schedule import Training

WITH_TEACHER = ("distill", "hidden", "sequence", "rewind", "dropout")


def training_of(stage: Stage, schedule: str = "cosine") -> Training:
    """The training that a section of a recipe describes; precision and seed are those of the run.

    Example:
        >>> training_of(Stage(steps=20, lr=1e-3)).steps
        20
    """
    taught = {key: getattr(stage, key) for key in WITH_TEACHER} if isinstance(stage, Taught) else {}
    return Training(
        stage.steps,
        stage.lr,
        stage.warmup,
        stage.tokens,
        stage.smoothing,
        eval_every=stage.eval_every,
        patience=stage.patience,
        schedule=schedule,
        **taught,
    )
