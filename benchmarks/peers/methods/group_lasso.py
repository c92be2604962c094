"""Group lasso with a fixed strength on heads and FFN units, then a global threshold on norms."""

from __future__ import annotations

import copy

from benchmarks.peers.job import Job, Made, cut, empty_plan, left_in_cut, select_to_speed, train_while_pruning
from benchmarks.peers.ranked import Ranked
from tprune.core.plan import Mode
from tprune.costs.size import norm_scores
from tprune.methods.group_lasso import GroupLasso
from tprune.methods.regulariser import Regulariser

STRENGTH = 2e-4  # λ of λ Σ √s n, beside a loss in nats per token: its gradient is of the order of the loss's


def group_lasso(job: Job) -> Made:
    """In the style of Behnke and Heafield, Pruning neural machine translation for speed using group lasso, 2021 (WMT).

    The penalty is part of the loss (its gradient goes through Adam). Norms are divided by √(group size) before heads
    and units are ranked together; the threshold is where the predicted time is what was asked for.
    """
    twin = copy.deepcopy(job.dense)
    plan = empty_plan(twin, method=GroupLasso(), mode=Mode.GRADIENT, strengths=STRENGTH)
    spent = train_while_pruning(job, twin, Regulariser(twin, plan, ramp=max(1, job.pruning_steps // 10)))
    norms = norm_scores(twin, plan)
    scores = {g.coupling.name: norms[g.coupling.name] / g.sizes.sqrt() for g in plan.bind(twin)}
    chosen = select_to_speed(job, plan, scores, Ranked(job.limits))
    return cut(job, twin, chosen, spent, left_in_cut(chosen, norms))
