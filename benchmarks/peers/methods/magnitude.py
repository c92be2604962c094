"""One-shot magnitude: heads and FFN units with the largest norms stay, the same share in every coupling."""

from __future__ import annotations

from benchmarks.peers.job import Job, Made, cut, empty_plan, select_to_speed
from tprune.core.selection import Uniform
from tprune.costs.size import norm_scores


def magnitude(job: Job) -> Made:
    """Li et al., Pruning filters for efficient ConvNets, 2017, over couplings of several matrices."""
    plan = empty_plan(job.dense)
    chosen = select_to_speed(job, plan, norm_scores(job.dense, plan), Uniform(job.limits))
    return cut(job, job.dense, chosen, 0.0)
