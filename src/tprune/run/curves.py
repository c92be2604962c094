"""Curves of a run for TensorBoard: its trainings by stage, what every coupling costs by its size, and what is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from tprune.core.curves import Curve
from tprune.core.plan import Plan

FOLDER = "tensorboard"  # of a run directory
LOGGED = ("loss", "eval_loss", "learning_rate", "grad_norm")  # of what the Trainer logs


class Curves(TrainerCallback):
    """Writes the scalars of a run; a run that goes on adds a file, and TensorBoard shows both as one.

    Tags are `STAGE/loss`, `STAGE/eval_loss`, `STAGE/learning_rate` and `STAGE/grad_norm` by training step,
    `selection/loss_added/COUPLING` by the number of groups that a coupling keeps, and `selection/kept/COUPLING`, the
    share of its groups that the plan keeps.

    Args:
        out: the run directory.
    """

    def __init__(self, out: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # here, because it takes a moment

        self.stage, self.writer = "", SummaryWriter(str(out / FOLDER))

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any) -> None:
        """What a training says of a step."""
        for name in LOGGED:
            if logs and isinstance(logs.get(name), int | float):
                self._scalar(f"{self.stage}/{name}", float(logs[name]), int(state.global_step))

    def losses(self, curves: Sequence[Curve]) -> None:
        """What every coupling costs alone, by the number of groups that it keeps."""
        for curve in curves:
            for kept, loss in zip(curve.kept, curve.losses, strict=True):
                self._scalar(f"selection/loss_added/{curve.name}", loss, kept)

    def kept(self, plan: Plan) -> None:
        """The share of its groups that every coupling keeps; nothing before selection."""
        for entry in plan.entries:
            if entry.kept is not None:
                self._scalar(f"selection/kept/{entry.coupling.name}", len(entry.kept) / math.prod(entry.groups), 0)

    def close(self) -> None:
        """Sees all of it to the disk."""
        self.writer.close()

    def _scalar(self, tag: str, value: float, step: int) -> None:
        self.writer.add_scalar(tag, value, step)
