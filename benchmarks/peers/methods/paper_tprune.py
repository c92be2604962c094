"""TPrune after its abstract, with our settings: Hoyer-square with fixed strengths on structured groups, the same share
of every coupling.
"""

from __future__ import annotations

import copy

from benchmarks.peers.job import Job, Made, cut, empty_plan, left_in_cut, select_to_speed, train_while_pruning
from tprune.core.plan import Mode
from tprune.core.selection import Uniform
from tprune.costs.size import norm_scores
from tprune.methods.hoyer_square import HoyerSquare
from tprune.methods.regulariser import Regulariser

# λ of λ (Σ n)² / Σ n², beside a loss in nats per token. The slope is about 2 / mean norm, and heads are larger and more
# alike than units: with one λ for both, theirs is a hundredth of the loss's gradient, with these both are of its order.
STRENGTHS = {"ffn": 0.05, "heads": 5.0}


def paper_tprune(job: Job) -> Made:
    """Mao et al., TPrune: efficient Transformer pruning for mobile devices, 2021, with the uniform budget.

    The penalty is part of the loss and its strengths stay; the groups with the largest norms are kept. The paper groups
    lines of single matrices; here, as for every other method, groups are heads and FFN units, which an ordinary runtime
    can leave out.
    """
    twin = copy.deepcopy(job.dense)
    strengths = {c.name: STRENGTHS[c.kind] for c in empty_plan(twin).couplings}
    plan = empty_plan(twin, method=HoyerSquare(), mode=Mode.GRADIENT, strengths=strengths)
    spent = train_while_pruning(job, twin, Regulariser(twin, plan, ramp=max(1, job.pruning_steps // 10)))
    norms = norm_scores(twin, plan)
    chosen = select_to_speed(job, plan, norms, Uniform(job.limits))
    return cut(job, twin, chosen, spent, left_in_cut(chosen, norms))
