"""How a stage of a recipe trains."""

from __future__ import annotations

from tprune.recipe.schema import Distilled, Train
from tprune.train.schedule import TrainingConfig

WITH_TEACHER = ("distill", "hidden_distillation", "sequence_distillation", "rewind", "dropout")


def training_of(stage: Train, schedule: str = "cosine") -> TrainingConfig:
    """The training that a section of a recipe describes; precision and seed are those of the run.

    Example:
        >>> training_of(Train(steps=20, lr=1e-3)).steps
        20
    """
    taught = {name: getattr(stage, name) for name in WITH_TEACHER} if isinstance(stage, Distilled) else {}
    return TrainingConfig(
        stage.steps,
        stage.lr,
        stage.warmup,
        stage.batch_tokens,
        stage.label_smoothing,
        eval_every=stage.eval_every,
        patience=stage.patience,
        schedule=schedule,
        **taught,
    )
