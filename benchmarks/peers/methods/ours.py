"""This toolkit's pipeline: sizes by measured milliseconds and loss, then regularised training that fades out what will be cut."""

from __future__ import annotations

import math

from peers.compute import step_units
from peers.job import Job, Made, cut, empty_plan, if_off
from tprune.compression import plan_step, regularise_step
from tprune.costs import CALIBRATION, Clock, select_step
from tprune.recipe import Prune
from tprune.sensitivity import sensitivities, token_loss_on
from tprune.tasks.translation import IGNORED


def ours(job: Job) -> Made:
    """Sensitivities and the latency table choose how much each coupling keeps; training chooses what."""
    stage = job.recovery.stage
    batch = job.material.batch(CALIBRATION)
    curves = sensitivities(job.dense, empty_plan(job.dense), token_loss_on([batch]), job.limits)
    looks = 1 + sum(len(curve.kept) - 1 for curve in curves)
    spent = looks * math.ceil(int((batch["labels"] != IGNORED).sum()) / stage.tokens)
    how = Prune(
        **stage.model_dump(exclude={"steps"}), steps=job.pruning_steps, speedup=job.target, multiple=dict(job.limits.multiple),
        floor=job.limits.floor,
    )  # fmt: skip
    goal = select_step(job.dense, plan_step(job.dense, how), how, None, Clock(job.speed.table, curves))
    trained, plan = regularise_step(job.dense, goal, job.recovery.material, how, job.work / "prune")
    notes = if_off(job, job.speed.of_plan(plan), "sizes that add no loss are cut without being asked for")
    return cut(job, trained, plan, spent + how.steps * step_units(1.0, how.distill > 0), *notes)
