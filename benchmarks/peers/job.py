"""What a method is given and what it gives back, and the training that all of them share afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from benchmarks.peers.compute import affordable, share_of_macs, step_units
from benchmarks.peers.speed import Speed
from tprune.core.plan import Plan, make_plan
from tprune.core.selection import Kept, Limits, Scores, Select, reach
from tprune.families.registry import couplings, family_of
from tprune.realise.certificate import Certificate
from tprune.recipe.schema import Recover
from tprune.recipe.training import training_of
from tprune.run.steps import cut_step, recover_step
from tprune.support.errors import UnreachableError
from tprune.train.training_data import SAVE_EVERY, TrainingData
from tprune.vocabulary.output_vocabulary import Resegmentation

LIMITS = Limits({"ffn": 16}, floor=0.03)  # at least one head and 32 of 1024 units stay everywhere


@dataclass(frozen=True)
class Recovery:
    """How what a method has made is trained with the units that are left.

    `extra` are units that no other method has: what the dense model's own training cost, for a model that could be
    trained instead of it.
    """

    stage: Recover
    material: TrainingData
    extra: float = 0.0


@dataclass(frozen=True)
class Job:
    """The same for all methods at one speed and seed.

    Attributes:
        dense: the dense model, in evaluation mode; no method changes it. It is the teacher too.
        material: sentences, batched in the order of this seed.
        taught: the same with the dense model's own translations as targets; None where none were given.
        speed: predicts speedups.
        target: the speedup asked for.
        units: of training compute, pruning and recovery together; see `peers.compute`.
        recovery: the same for all methods that start from the dense model.
        pruning: the share of the units that methods which train while pruning spend on that.
        tokenizer: the dense model's.
        targets: the training translations.
        work: an empty folder, or that of the same job when it was killed.
        limits: multiples and floor of what is kept.
        calibration: batches for methods that look at gradients.
    """

    dense: Any
    material: TrainingData
    taught: TrainingData | None
    speed: Speed
    target: float
    units: float
    recovery: Recovery
    seed: int
    tokenizer: Any
    targets: Sequence[str]
    work: Path
    pruning: float = 1 / 3
    limits: Limits = LIMITS
    calibration: int = 8

    @property
    def milliseconds(self) -> float:
        """For one sentence."""
        return self.speed.dense / self.target

    @property
    def pruning_steps(self) -> int:
        """Steps of the dense-size model that methods which train while pruning have for that."""
        return affordable(self.pruning * self.units, 1.0, self.recovery.stage.distill > 0)


@dataclass(frozen=True)
class Made:
    """A smaller model, not recovered yet.

    Attributes:
        model: the smaller model.
        speedup: predicted.
        spent: units so far.
        plan: what was kept, where a plan can say it.
        certificate: that the cut model computes what the masked one computed.
        spelling: what it writes, where that is fewer tokens than all models write.
        notes: what a reader of the table must know.
    """

    model: Any
    speedup: float
    spent: float = 0.0
    plan: Plan | None = None
    certificate: Certificate | None = None
    notes: tuple[str, ...] = ()
    spelling: Resegmentation | None = None


@dataclass(frozen=True)
class Method:
    """One row of the comparison: `make` gives the smaller model, `recovery` how it is trained from there.

    `timed` is false where the model is not made to a speed: the dense reference, or element sparsity, which gains none.
    `shaped` is true where shapes are timed that the latency table does not know. `aimed` is true where a plan is made
    without training, so that it can be timed and made again until it is as fast as asked.
    """

    make: Callable[[Job], Made]
    recovery: Callable[[Job], Recovery] = field(default=lambda job: job.recovery)
    timed: bool = True
    shaped: bool = False
    aimed: bool = False


def finish(job: Job, made: Made, how: Recovery) -> tuple[Any, int, float]:
    """Trains with all units that are left; returns the model, the steps, and all units spent."""
    macs, teacher = share_of_macs(made.model, job.dense), how.stage.distill > 0
    steps = affordable(job.units + how.extra - made.spent, macs, teacher)
    stage = how.stage.model_copy(update={"steps": steps, "warmup": min(how.stage.warmup, steps)})
    material = how.material if made.spelling is None else how.material.resegmented(made.spelling, made.model)
    model = recover_step(made.model, job.dense, material, stage, job.work / "recover")
    return model, steps, made.spent + steps * step_units(macs, teacher)


def train_while_pruning(job: Job, twin: Any, callback: TrainerCallback) -> float:
    """Trains a model of the dense size in place by the recovery recipe, with a callback that prunes.

    Returns the units spent.
    """
    stage = job.recovery.stage
    steps = job.pruning_steps
    how = stage.model_copy(update={"steps": steps, "warmup": min(stage.warmup, steps)})
    job.recovery.material.run(
        twin, training_of(how), job.work / "prune", teacher=job.dense, callbacks=[callback], save_every=SAVE_EVERY
    )
    twin.eval()
    return steps * step_units(1.0, stage.distill > 0)


def empty_plan(model: Any, **how: Any) -> Plan:
    """The plan that all methods which cut heads and FFN units start from."""
    return make_plan(model, family_of(model).name, couplings(model, ("ffn", "heads")), **how)


def select_to_speed(job: Job, plan: Plan, scores: Scores, select: Select) -> Plan:
    """The largest selection whose predicted time is within the target, by bisection of `select`'s level.

    Heads are few and large. So once they are chosen, FFN units fill what is left of the time.

    Raises:
        UnreachableError: the smallest allowed selection is slower.
    """
    kinds = {c.name: c.kind for c in plan.couplings}

    def milliseconds(kept: Kept) -> float:
        return job.speed.milliseconds(plan.with_kept(kept, {}, {}))

    least = milliseconds(select(scores, kinds, 0.0))
    if least > job.milliseconds:
        most = job.speed.dense / least
        raise UnreachableError(
            f"asked for {job.target:.2f}x; with the least that may stay it is {most:.2f}x, {least:.2f} ms"
        )
    kept, _ = reach(job.milliseconds, select, scores, kinds, milliseconds, "ms")
    heads = {name: mask for name, mask in kept.items() if kinds[name] == "heads"}
    units = {name: score for name, score in scores.items() if name not in heads}
    if units:
        kept, _ = reach(job.milliseconds, select, units, kinds, lambda k: milliseconds({**heads, **k}), "ms")
    chosen = plan.with_kept({**heads, **kept}, {}, {})
    return dataclasses.replace(chosen, asked={"speedup": job.target}, reached={"speedup": job.speed.of_plan(chosen)})


def cut(job: Job, model: Any, plan: Plan, spent: float, *notes: str) -> Made:
    """Cuts a selected plan out of a model, with its certificate."""
    small, certificate = cut_step(model, plan, job.material, stock=False)
    return Made(small, job.speed.of_plan(plan), spent, plan, certificate, notes)


def kept_shares(plan: Plan) -> Mapping[str, float]:
    """The share of its groups that each kind keeps, over all couplings."""
    kinds = {entry.coupling.kind for entry in plan.entries}
    mine = {kind: [e for e in plan.entries if e.coupling.kind == kind] for kind in kinds}
    return {
        kind: sum(len(e.kept or ()) for e in entries) / sum(e.keep.numel() for e in entries)
        for kind, entries in mine.items()
    }


def left_in_cut(plan: Plan, norms: Scores) -> str:
    """A note: how much of the weights a penalty has left in what is cut. Near 0 where it did its work."""
    whole = sum(float(n.square().sum()) for n in norms.values())
    lost = sum(float((norms[e.coupling.name] * ~e.keep).square().sum()) for e in plan.entries)
    return f"{lost / whole:.2%} of the squared norms were still in what was cut"


def if_off(job: Job, speedup: float, why: str) -> tuple[str, ...]:
    """A note where the predicted speedup is 3 % or more away from the one asked for."""
    return () if abs(speedup / job.target - 1) < 0.03 else (f"granularity: {speedup:.2f}x predicted; {why}",)
