"""Heads by the loss's gradient in their mask; FFN units by the analogous gradient of theirs."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from benchmarks.peers.job import Job, Made, cut, empty_plan, select_to_speed
from benchmarks.peers.masks import calibration_gradients
from benchmarks.peers.ranked import RankedByKind


def michel(job: Job) -> Made:
    """Michel, Levy and Neubig, Are sixteen heads really better than one?, 2019: one-shot, then recovery.

    The paper cuts heads only, which cannot reach these speeds, so units are ranked by the same gradient. Heads and
    units are ranked apart, and the same share of both is kept.
    """
    plan = empty_plan(job.dense)
    gradients, spent = calibration_gradients(job, plan)
    chosen = select_to_speed(job, plan, importances(gradients), RankedByKind(job.limits))
    return cut(job, job.dense, chosen, spent, "FFN units ranked by the same gradient as heads")


def importances(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`E_x |∂L(x)/∂m|`, divided by its l2 norm within each layer, as in the paper."""
    found = {name: gradient.abs().mean(0) for name, gradient in gradients.items()}
    return {name: score / score.norm().clamp_min(1e-30) for name, score in found.items()}
