"""How much of `ours` is the repair: another method's sizes, with the order of removal and the least-squares fit of
`ours`.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.peers.job import Job, Made, cut
from benchmarks.peers.methods.ours import passes
from tprune.analysis.one_shot import one_shot
from tprune.budget.samples import FITTED


def repaired(method: Callable[[Job], Made]) -> Callable[[Job], Made]:
    """The method's number of groups for each coupling.

    Those that are hardest to make up for stay, and what reads them is fitted.
    """

    def make(job: Job) -> Made:
        made = method(job)
        assert made.plan is not None
        data = job.material.train
        small, plan = one_shot(job.dense, made.plan, job.material.batches(data, FITTED))
        return cut(job, small, plan, made.spent + passes(job, data, FITTED), *made.notes)

    return make
