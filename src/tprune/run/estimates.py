"""How long a run takes: from training steps of the model itself, timed on the run's data and threads.

Nothing before that.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch

from tprune.families.graphs.graph import skeleton_of
from tprune.families.registry import couplings
from tprune.recipe.schema import Recipe
from tprune.run import stage as stages
from tprune.run.folder import Run
from tprune.run.stage_times import Pace, StageTimes
from tprune.run.variants import precisions_of
from tprune.support.activity import doing
from tprune.support.devices import placement
from tprune.support.machine import training_precision
from tprune.tasks.batches import TokenBatches
from tprune.train.training_data import TrainingData

ENOUGH = 3.0  # seconds of a step, after which no other is timed
STEPS = 3  # that are timed at most; the first, which finds nothing warm, counts only where it is the only one
LEAST = 1.0  # seconds of a stage


def planned(recipe: Recipe, trims: bool = False, given: bool = False) -> dict[str, float]:
    """The stages of a run in their order (`tprune.run.stage.planned`); how long each takes, nobody knows yet: 0."""
    return dict.fromkeys(stages.planned(recipe, trims, given), 0.0)


def timed_step(model: Any, material: TrainingData, tokens: int, clock: Callable[[], float] = time.perf_counter) -> Pace:
    """Times training steps of a copy of the model on one batch of the training data.

    Random numbers go on as if it had not.

    Args:
        model: what is to be trained.
        material: its data.
        tokens: of a batch.
        clock: in seconds.
    """
    rows = list(TokenBatches(material.train.lengths, tokens))
    batch = material.task.collate([material.train[i] for i in rows[len(rows) // 2]], material.pad)
    device = placement().device
    bf16 = training_precision(material.precision) == "bf16"
    with torch.random.fork_rng():
        task, twin = material.task, copy.deepcopy(model).float().to(device).train()
        optimiser = torch.optim.AdamW([p for p in twin.parameters() if p.requires_grad], lr=0.0)
        batch = {key: value.to(device) for key, value in batch.items()}
        took: list[float] = []
        while len(took) < STEPS and sum(took) < ENOUGH:
            start = clock()
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                loss = task.loss(task.run(twin, batch).logits, batch)
            torch.autograd.backward(loss)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if device != "cpu":
                torch.accelerator.synchronize()
            took.append(clock() - start)
    step = max(min(took[1:] or took), 1e-6)
    return Pace(task.labels(batch).numel() / step, step)


def expected_seconds(
    recipe: Recipe, model: Any, material: TrainingData, pace: Pace, compares: bool = False
) -> dict[str, float]:
    """Seconds of every stage of a run of this model at this pace, corrected as the run goes.

    Args:
        recipe: of the run.
        model: the dense model.
        material: its data.
        pace: of its training.
        compares: whether several speeds are compared, which is done in every precision.
    """
    load = workload(recipe, model, material, pace, compares)
    return {stage.name: max(stage.seconds(recipe, load), LEAST) for stage in stages.STAGES}


def workload(recipe: Recipe, model: Any, material: TrainingData, pace: Pace, compares: bool = False) -> StageTimes:
    """The numbers of a model and its data that say how long a stage takes. Arguments as of `expected_seconds`."""
    several = recipe.prune.timed and (compares or recipe.bench.auto)
    train, valid = (float(pairs.lengths.sum()) for pairs in (material.train, material.valid))
    return StageTimes(
        pace,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        couplings=len(couplings(model, recipe.prune.kinds)),
        train=train,
        valid=valid,
        pairs=len(material.train),
        sentence=valid / len(material.valid),
        tables=len(precisions_of(recipe.bench, skeleton_of(model).name)) if several else 1,
    )


def expect(run: Run, model: Any, material: TrainingData) -> dict[str, float]:
    """Seconds of every planned stage, from a timed step of this model; told to the progress.

    Empty where all training is done.
    """
    if all(run.has(name) for name in ("train", "prune", "recover")):
        return {}
    tokens = run.recipe.recover.batch_tokens if run.recipe.recover.steps else run.recipe.train.batch_tokens
    with doing("timing a training step"):
        pace = timed_step(model, material, tokens)
    expected = expected_seconds(run.recipe, model, material, pace, bool(run.speeds))
    run.progress.plan.update({name: expected[name] for name in run.progress.plan if name in expected})
    run.progress.say(f"      a training step takes {pace.step:.2g} s, {pace.tokens:,.0f} tokens a second")
    return {name: expected[name] for name in planned(run.recipe, run.vocabulary is not None, run.plan is not None)}


def where() -> str:
    """What a run computes on, for a sentence about its time."""
    if placement().device != "cpu":
        return "this GPU"
    cores = torch.get_num_threads()
    return "this core" if cores == 1 else f"these {cores} cores"
