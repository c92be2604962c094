"""One shot: a trained model cut without training, on a few hundred sentences; minutes on one core."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import nn

from tprune.core.plan import Plan
from tprune.core.task import Batch, Task
from tprune.scores.calibration import grams
from tprune.scores.reconstruction import DAMP, repair_, repaired
from tprune.scores.second_order import keep_counts, removal_scores


def one_shot(
    model: nn.Module,
    goal: Plan,
    batches: Sequence[Batch],
    damp: float = DAMP,
    in_turn: bool = False,
    task: Task | None = None,
) -> tuple[nn.Module, Plan]:
    """Keeps as many groups as the goal, those whose loss is hardest to make up for, and repairs what reads them.

    Args:
        model: the trained dense model; left as it is.
        goal: says how many groups each coupling keeps, e.g. from `tprune.select_to`.
        batches: calibration data of the task, padded.
        damp: see `tprune.scores.reconstruction.fitted`.
        in_turn: repair with `tprune.scores.reconstruction.repaired` instead of `repair_`; slower, and on 256 sentences
            it was no better.
        task: what the model is for; its own if not given.

    Returns:
        A masked, repaired copy, and its plan: ready for `tprune.shrink` and `tprune.certify`.

    Raises:
        InputError: the goal is not selected, or there is no calibration data.
    """
    found = grams(model, goal, batches, task)
    plan = keep_counts(goal, removal_scores(model, goal, found, damp))
    if in_turn:
        return repaired(model, plan, batches, damp, task), plan
    twin = copy.deepcopy(model)
    repair_(twin, plan, found, damp)
    return twin, plan
