"""From a trained model to a smaller one: analyse, regularise, cut, recover, each step alone.

`tprune.run.sequence` puts them in a row.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from tprune.analysis import Analysis, BlockShape, analyse, with_ablation_losses
from tprune.analysis.loss_curves import token_loss_on
from tprune.analysis.one_shot import one_shot
from tprune.budget.samples import CALIBRATION, FITTED
from tprune.budget.size import keep_largest
from tprune.core.kinds import STOCK, Scope, rule_of
from tprune.core.method_json import made
from tprune.core.plan import Mode, Plan, make_plan
from tprune.families.registry import couplings, family_of
from tprune.methods.controller import Controller
from tprune.methods.group_lasso import GroupLasso
from tprune.methods.regulariser import Regulariser
from tprune.realise.certificate import Certificate, certify
from tprune.realise.shrink import shrink
from tprune.recipe.schema import Analyze, Prune, Recover
from tprune.recipe.training import training_of
from tprune.support.errors import InputError
from tprune.support.reporting import Report, counted
from tprune.train.losses import Width
from tprune.train.schedule import TrainingConfig
from tprune.train.training_data import SAVE_EVERY, TrainingData
from tprune.vocabulary.output_vocabulary import Resegmentation
from tprune.vocabulary.trim import write_only_


def analyse_step(
    model: Any,
    material: TrainingData,
    how: Analyze,
    kinds: Sequence[str],
    work: Path,
    report: Report = lambda text: None,
) -> Analysis:
    """BSSL: see `tprune.analysis`."""
    stage = TrainingConfig(how.steps, how.lr, how.steps // 10, how.batch_tokens, schedule="constant_with_warmup")

    def fit(twin: nn.Module, regulariser: Regulariser) -> None:
        material.run(twin, stage, work, callbacks=[regulariser])

    shown = tuple(kind for kind in kinds if rule_of(kind).scope is not Scope.MATRIX)
    found = analyse(
        model,
        fit,
        kinds=shown,
        strength=how.strength,
        steps=how.steps,
        multiples=how.path,
        blocks=BlockShape(how.blocks),
        loss=token_loss_on(material.batches(material.valid), material.task),
    )
    if not shown:
        return found
    cut = couplings(model, shown)
    loss = token_loss_on(material.batches(material.train, CALIBRATION), material.task)
    return with_ablation_losses(found, model, cut, counted(loss, len(cut) + 1, report, "couplings cut on trial"))


def plan_step(model: Any, how: Prune) -> Plan:
    """The plan before training: couplings, method, strength.

    Raises:
        InputError: a kind the family does not have, or one that a stock checkpoint cannot hold.
    """
    if how.stock and set(how.kinds) - set(STOCK):
        raise InputError(
            f"prune: a stock checkpoint can only express pruned FFN units (kinds: [ffn]), got {how.kinds}; leave "
            "out --stock (stock)"
        )
    how.target()
    plan = make_plan(
        model,
        family_of(model).name,
        couplings(model, how.kinds),
        method=made(how.method, how.method_options),
        mode=Mode(how.mode),
        strengths=how.strength,
    )
    # of a single group Hoyer-square is 1 whatever its norm: nothing would fade out
    alone = (replace(e, method=GroupLasso()) if e.groups == () else e for e in plan.entries)
    return replace(plan, entries=tuple(alone))


def regularise_step(model: Any, goal: Plan, material: TrainingData, how: Prune, work: Path) -> tuple[Any, Plan]:
    """A copy of the model, trained until what the goal cuts has faded out, and the plan with the groups that are left.

    The goal says how many groups each coupling keeps; which ones, the training decides. The model is the teacher.
    Without steps it is one shot: the groups whose loss is hardest to make up for stay, and what reads them is fitted
    again (`tprune.analysis.one_shot`).
    """
    if not how.steps:
        one, plan = one_shot(model, goal, material.batches(material.train, FITTED), task=material.task)
        return one.eval(), plan
    twin = copy.deepcopy(model)
    # the last quarter, at the lowest learning rates, mends
    controller = Controller(goal, max(1, how.steps * 3 // 4))
    regulariser = Regulariser(twin, goal, max(1, how.steps // 10), controller)
    material.run(twin, training_of(how), work, teacher=model, callbacks=[regulariser], save_every=SAVE_EVERY)
    return twin.eval(), keep_largest(twin, goal)


def cut_step(
    model: Any, plan: Plan, material: TrainingData, stock: bool, spelling: Resegmentation | None = None
) -> tuple[Any, Certificate]:
    """The smaller model, which writes the tokens of the spelling alone where there is one, and its certificate.

    Raises:
        CertificateError: the cut changed what the model computes.
    """
    small = shrink(model, plan, stock=stock)
    certificate = certify(model.eval(), plan, small, material.batch(), task=material.task)
    if spelling is not None:
        write_only_(small, spelling.kept)
    return small, certificate


def recover_step(
    small: Any, teacher: Any, material: TrainingData, how: Recover, work: Path, width: Width | None = None
) -> Any:
    """Fine-tunes the cut model in place, with the dense model as its teacher.

    `width` says which residual dimensions were kept (`tprune.train.losses.kept_width` of the plan); only `hidden` needs
    it.
    """
    if how.steps:
        material.run(small, training_of(how), work, teacher=teacher, width=width, save_every=SAVE_EVERY)
    return small.eval()
