"""Gradual cutting: the size goes to its target in rounds.

Each round cuts the model of the round before and trains it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tprune.budget.request import limits_of
from tprune.budget.size import Budget, select_to
from tprune.core.plan import Plan
from tprune.core.selection import Kept, Limits, Scores, keep_best, lines_of
from tprune.costs.size import norm_scores
from tprune.counting.size import size
from tprune.realise.certificate import Certificate
from tprune.realise.checkpoint import load, save
from tprune.recipe.schema import Prune, Recover
from tprune.run.steps import cut_step, plan_step, recover_step
from tprune.support.errors import InputError
from tprune.support.files import read_json
from tprune.support.reporting import Report
from tprune.support.store import Form, Store
from tprune.train.losses import Width, kept_width
from tprune.train.pseudo_targets import digest
from tprune.train.training_data import TrainingData


@dataclass(frozen=True)
class Gradual:
    """What gradual cutting gives: the smaller model, and the plan and certificate of every round.

    Each plan is for the model before it.
    """

    model: Any
    plans: tuple[Plan, ...]
    certificates: tuple[Certificate, ...]


@dataclass(frozen=True)
class Round:
    """A smaller model, the plan for the model before it, and the certificate of its cut."""

    model: Any
    plan: Plan
    certificate: Certificate

    @staticmethod
    def read(folder: Path) -> Round:
        """The round that lies in a folder."""
        certificate = Certificate(**read_json(folder / "certificate.json"))
        return Round(load(folder).eval(), Plan.load(folder / "plan.json"), certificate)

    @staticmethod
    def write(folder: Path, made: Round) -> None:
        """Puts a round into a folder, which appears whole."""
        save(made.model, folder, plan=made.plan, certificate=made.certificate)


ROUNDS = Form("", Round.read, Round.write)


@dataclass(frozen=True)
class ShareOfDense:
    """Every coupling keeps the same share of the groups that the *dense* model had, the best by score.

    So the floor and the multiples of a recipe mean the same in every round.

    Attributes:
        dense: by coupling, the groups of the dense model (lines of one head in a balanced coupling).
        limits: floor and multiples.
    """

    dense: Mapping[str, int]
    limits: Limits

    def __call__(self, scores: Scores, kinds: Mapping[str, str], level: float) -> Kept:
        """Keep masks by coupling."""
        kept = {
            name: self.limits.round(level * self.dense[name], self.dense[name], kinds[name], name) for name in scores
        }
        return {name: keep_best(s, min(lines_of(s), kept[name])) for name, s in scores.items()}


def share_left(final: float, done: int, rounds: int) -> float:
    """The share of the dense size after round t of n, `1 − s_f (1 − (1 − t/n)³)` with `s_f = 1 − final`.

    Most goes in the first rounds, while there is much to spare and many steps are still to come.

    References:
        Zhu and Gupta, To prune, or not to prune: exploring the efficacy of pruning for model compression, 2017.

    Example:
        >>> [share_left(0.5, t, 2) for t in (0, 1, 2)]
        [1.0, 0.5625, 0.5]
    """
    return final + (1 - final) * (1 - done / rounds) ** 3


def cut_in_rounds(
    dense: Any,
    material: TrainingData,
    prune: Prune,
    recover: Recover,
    rounds: int,
    work: Path,
    report: Report = lambda text: None,
) -> Gradual:
    """Cuts a model to `prune`'s size in rounds.

    Each selects by norm on the current model, cuts it, and trains `steps / rounds`.

    Every round ends in a checkpoint directory `work / "round-N"` with plan and certificate; a killed call goes on in
    its round. Each training has `recover`'s warm-up and cosine, or, with `recover.rewind`, replays the end of the dense
    schedule.

    Args:
        dense: the model to start from; the teacher of every round; its weights stay.
        material: sentences to train and certify on.
        prune: kinds, size, floor and multiples; every coupling keeps the same share. Nothing is regularised.
        recover: how to train; `steps` are those of all rounds together.
        rounds: how many cuts.
        work: where checkpoints go.
        report: is told about each round.

    Raises:
        InputError: a time instead of a size, no whole step a round, or `work` holds rounds of another model or other
            settings.
        UnreachableError: the size cannot be reached; said before anything is trained.
        CertificateError: a cut changed what a model computes.
    """
    unit, asked = prune.target()
    if prune.timed:
        raise InputError(f"prune: cutting in rounds needs a size, not {unit}")
    aim = Budget(unit, asked)
    if rounds < 1 or 0 < recover.steps < rounds:
        raise InputError(f"rounds {rounds} for {recover.steps} steps; expected at least 1 round and 1 step in each")
    plan = plan_step(dense, prune)
    groups = {name: lines_of(scores) for name, scores in norm_scores(dense, plan).items()}
    select = ShareOfDense(groups, limits_of(prune, plan))
    task = material.task
    select_to(dense, plan, aim, select, task=task)
    settings = {"prune": prune.model_dump(mode="json"), "recover": recover.model_dump(mode="json"), "rounds": rounds}
    store = Store.made_from(work, {"dense": digest(dense), "seed": material.seed, **settings}, ROUNDS)
    small, whole = dense, aim.of(size(dense, task))
    final = aim.limit(size(dense, task)) / whole
    plans: list[Plan] = []
    certificates: list[Certificate] = []
    width: Width | None = None
    for done in range(1, rounds + 1):
        name = f"round-{done}"
        if not store.done(name):
            left = share_left(final, done, rounds) * whole
            # coarse groups may have left less already than this round asks for
            target = Budget(unit, min(1.0, left / aim.of(size(small, task))))
            chosen = select_to(small, plan_step(small, prune), target, select, task=task)
            report(f"round {done} of {rounds}\n{chosen}")
            cut, certificate = cut_step(small, chosen, material, prune.stock)
            part = recover.steps * done // rounds - recover.steps * (done - 1) // rounds
            how, kept = recover.model_copy(update={"steps": part}), kept_width(chosen, width)
            training = work / f"training-{done}"
            # another seed, lest every round see the same first batches
            recover_step(cut, dense, replace(material, seed=material.seed + done), how, training, kept)
            store.put(name, Round(cut, chosen, certificate))
            shutil.rmtree(training, ignore_errors=True)
        made = store.get(name)
        small, width = made.model, kept_width(made.plan, width)
        plans.append(made.plan)
        certificates.append(made.certificate)
    return Gradual(small, tuple(plans), tuple(certificates))
