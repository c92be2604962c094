"""One shot: a trained model cut without training, on a few hundred sentences; minutes on one core."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from tprune.calibration import Batch, grams
from tprune.plan import Plan
from tprune.repair import DAMP, repaired
from tprune.second_order import keep_counts, removal_scores


def one_shot(model: nn.Module, goal: Plan, batches: Sequence[Batch], damp: float = DAMP) -> tuple[nn.Module, Plan]:
    """Keeps as many groups as the goal, those whose loss is hardest to make up for, and repairs what reads them.

    Args:
        model: the trained dense model; left as it is.
        goal: says how many groups each coupling keeps, e.g. from `tprune.select_to`.
        batches: calibration data, padded, with `input_ids`, `attention_mask` and `labels`.
        damp: see `tprune.repair.fitted`.

    Returns:
        A masked, repaired copy, and its plan: ready for `tprune.shrink` and `tprune.certify`.

    Raises:
        InputError: the goal is not selected, or there is no calibration data.
    """
    plan = keep_counts(goal, removal_scores(model, goal, grams(model, goal, batches), damp))
    return repaired(model, plan, batches, damp), plan
