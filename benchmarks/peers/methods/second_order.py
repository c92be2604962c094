"""One group at a time by second-order error, sizes by the latency table, what is left fitted again: in the style of ZipLM."""

from __future__ import annotations

import math
from importlib.util import find_spec

from peers.job import Job, Made, cut, empty_plan, if_off
from tprune.costs import CALIBRATION
from tprune.policies.latency import select_within
from tprune.sensitivity import token_loss_on
from tprune.tasks.translation import IGNORED, Collate, TokenBatches

READY = find_spec("tprune.second_order") is not None and find_spec("tprune.one_shot") is not None


def second_order(job: Job) -> Made:
    """Kurtić, Frantar and Alistarh, ZipLM, 2023: one-shot, then recovery. Losses of sizes are measured on validation sentences."""
    from tprune.one_shot import one_shot
    from tprune.second_order import second_order_curves

    stage, data, plan = job.recovery.stage, job.material.train, empty_plan(job.dense)
    collate = Collate(job.material.pad)
    batches = [
        collate([data[i] for i in rows]) for rows in TokenBatches(data.lengths, stage.tokens, job.calibration, job.seed)
    ]
    valid = job.material.batch(CALIBRATION)
    curves, _ = second_order_curves(job.dense, plan, batches, token_loss_on([valid]), job.limits)
    goal = select_within(job.dense, plan, job.speed.table, curves, job.milliseconds)
    fitted, plan = one_shot(job.dense, goal, batches)
    looks = 1 + sum(len(curve.kept) - 1 for curve in curves)
    # the curves, their moments, and two passes (dense and masked) for each coupling's repair
    spent = looks * math.ceil(int((valid["labels"] != IGNORED).sum()) / stage.tokens)
    spent += job.calibration * (2 + 2 * len(plan.entries))
    notes = if_off(job, job.speed.of_plan(plan), "sizes that add no loss are cut without being asked for")
    return cut(job, fitted, plan, spent, *notes)
