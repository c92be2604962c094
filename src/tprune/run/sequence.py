"""The sequence of a compression, once.

`tprune.compress` takes these steps in memory; a run keeps what each found in its directory.

A step is a function from `Work` to `Work`; which of them are stages of a run says `tprune.run.stage`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from tprune.analysis.loss_curves import token_loss_on
from tprune.budget.both import in_both, mixed_of, needs_times, table_in_fp32
from tprune.budget.by_precision import precision_speedup
from tprune.budget.by_vocabulary import vocabulary_speedup
from tprune.budget.evidence import (
    Evidence,
    check_reachable,
    gather_evidence,
    search_allocation,
    select_plan,
    verify_latency,
)
from tprune.budget.samples import CALIBRATION
from tprune.core.precision import Precision
from tprune.core.units import TIMES
from tprune.counting.size import size
from tprune.recipe.whole import from_whole
from tprune.run.given_plan import fitted_plan, selected_plan
from tprune.run.kept_losses import kept_int8_losses, kept_losses
from tprune.run.kept_times import kept_speedup
from tprune.run.numbers import limited
from tprune.run.stage import stage_named
from tprune.run.steps import (
    analyse_step,
    cut_step,
    plan_step,
    recover_step,
    regularise_step,
)
from tprune.run.translation.steps import distill_data, resegment, respelled
from tprune.run.work import Start, Work
from tprune.train.losses import kept_width
from tprune.train.training_data import TrainingData
from tprune.vocabulary.trim import restricted_to

Step = Callable[[Work], Work]
Take = Callable[[str, Work], Work]  # takes the step of a stage: at once, or from what a run directory holds of it


def begin(start: Start, material: TrainingData) -> Work:
    """Before the first step: what may be cut, or the plan that was given.

    Raises:
        InputError: a kind the family does not have, or a damaged plan.
    """
    how = start.recipe.prune
    plan = plan_step(start.dense, how) if start.given is None else selected_plan(start.given)
    return Work(start, material, how, writer=start.dense, plan=plan, goal=plan, final=plan)


def to_goal(work: Work, take: Take) -> Work:
    """Up to the goal: what is written, the evidence, the analysis, and the selection by them.

    Raises:
        UnreachableError: the size, time or memory cannot be reached; said as early as it is known.
    """
    stages = work.start.stages
    work = sized(take("resegment", work) if "resegment" in stages else work)
    if "profile" in stages:
        check_reachable(work.writer, work.plan, work.how, work.material.task)
        work = take("profile", work)
    work = select(work)  # what cannot be reached is said now, not after the analysis
    return select(take("analyze", work)) if "analyze" in stages else work


def to_small(work: Work, take: Take) -> Work:
    """From the goal to the smaller model: the steps of all other stages, in the order of the table."""
    for name in work.start.stages:
        if name in STEPS and not stage_named(name).dry:
            work = take(name, work)
    return work


def sized(work: Work) -> Work:
    """What is asked for, in numbers of the model that writes so many tokens; a plan that was given is counted.

    Raises:
        InputError: the given plan was made for another model, or a number is asked for that the model does not exceed.
    """
    start, task = work.start, work.material.task
    if work.spelling is not None:
        work = replace(work, writer=restricted_to(start.dense, work.spelling.kept))
    if start.given is not None:
        plan = fitted_plan(work.plan, start.given, work.writer, task)
        return replace(work, plan=plan, goal=plan, final=plan)
    if work.spelling is None and start.before is None:
        return work
    whole = start.dense if start.before is None else start.before()[0]
    return replace(work, how=from_whole(work.how, size(whole, task), size(work.writer, task)))


def gather(work: Work) -> Work:
    """The evidence: the loss that every coupling adds, and, where a time is asked for, this machine's.

    Losses are those of each coupling alone and of all together.

    Raises:
        InputError: the dense model takes no longer than what is asked for.
        UnreachableError: a time is asked for that nothing reaches.
        NoisyMachineError: times differ too much between repetitions.
    """
    return confirmed(searched(respelled(measured(work))))


def measured(work: Work) -> Work:
    """The loss that every coupling adds alone, unless the folder has it already, and the latency table."""
    setting = replace(work.start.setting, precision=_numbers(work))
    work = replace(work, start=replace(work.start, setting=setting))
    start, auto = work.start, work.start.recipe.bench.auto
    faster = 1.0
    if start.before is not None and work.how.target()[0] == "speedup":
        after = start.dense, start.processor
        faster = vocabulary_speedup(
            start.before(), after, start.sentences, start.setting, start.report, work.material.task
        )
        start.note(f"with the smaller vocabulary alone: {faster:.2f}x faster")
    if not start.setting.precision.exact and work.how.target()[0] == "speedup":
        lower = kept_speedup(work, partial(precision_speedup, work.dense_timing))
        start.note(f"in {start.setting.precision} alone: {lower:.2f}x faster")
        faster *= lower
    losses = partial(kept_losses, work)
    evidence = gather_evidence(work.dense_timing, work.plan, work.material, work.how, faster, losses, auto)
    return replace(work, evidence=_in_both(work, evidence) if auto and not setting.precision.exact else evidence)


def _in_both(work: Work, evidence: Evidence) -> Evidence:
    """The evidence with fp32 beside int8, for every sublayer to choose from."""
    start, how = work.start, work.how
    base, losses = start.setting.precision, partial(kept_int8_losses, work)
    mixed = mixed_of(start.dense, work.plan, base, how, work.material, start.report, losses)
    fp32 = None
    if needs_times(how):
        fp32 = table_in_fp32(work.dense_timing, how)
    return in_both(evidence, mixed, fp32)


def _numbers(work: Work) -> Precision:
    """The precision that is timed, with what has to stay fp32 in the dense model; the one asked for, if none is."""
    asked, how = work.start.setting.precision, work.start.recipe.bench
    return limited(work.start.dense, asked, how, work.material, work.start.note) if work.how.timed else asked


def searched(work: Work) -> Work:
    """The losses scaled such that the selection that they lead to has the least loss, as a whole."""
    if work.evidence is None:
        return work
    evidence = search_allocation(work.writer, work.plan, work.how, work.evidence, work.material, work.start.report)
    return replace(work, evidence=evidence)


def confirmed(work: Work) -> Work:
    """The latency table corrected until it predicts the sizes that it leads to, where a time is asked for."""
    start, evidence = work.start, work.evidence
    if evidence is None or work.how.target()[0] not in TIMES:
        return work
    found = verify_latency(
        work.writer,
        start.tokenizer,
        work.plan,
        work.how,
        evidence,
        work.inputs,
        report=start.report,
        task=work.material.task,
    )
    last, asked, quoted = found.measured.total, evidence.milliseconds(work.how), found.table.phases.quoted
    start.note(f"the chosen sizes, timed: {last:.3g} ms a {quoted}, asked for {asked:.3g}")
    return replace(work, evidence=replace(evidence, table=found.table), measured=last)


def analyse(work: Work) -> Work:
    """BSSL of the dense model."""
    start = work.start
    how, kinds = start.recipe.analyze, start.recipe.prune.kinds
    found = analyse_step(start.dense, work.material, how, kinds, start.checkpoints("analyze"), start.report)
    return replace(work, analysis=found)


def select(work: Work) -> Work:
    """The goal: how many groups stay; a plan that was given says so itself.

    Raises:
        UnreachableError: saying what can be reached.
    """
    if work.start.given is not None:
        return work
    found = select_plan(work.writer, work.plan, work.how, work.analysis, work.evidence, work.material.task)
    return replace(work, goal=found)


def regularise(work: Work) -> Work:
    """A copy of the dense model in which all that the goal cuts has faded out, and which groups are left."""
    how, checkpoints = work.start.recipe.prune, work.start.checkpoints("prune")
    made, final = regularise_step(work.start.dense, work.goal, work.material, how, checkpoints)
    return replace(work, made=made, final=final)


def cut(work: Work) -> Work:
    """The smaller model, and its certificate.

    Raises:
        CertificateError: the cut changed what the model computes.
    """
    stock = work.start.recipe.prune.stock
    small, certificate = cut_step(work.made, work.final, work.material, stock, work.spelling)
    return replace(work, made=small, certificate=certificate)


def recover(work: Work) -> Work:
    """The smaller model fine-tuned in place, and the losses before and after."""
    start, material, longer = work.start, work.material, 1.0
    teacher = copy.deepcopy(start.dense).eval()
    losses = {"dense": token_loss_on(material.batches(material.valid, CALIBRATION), material.task)(teacher)}
    if work.spelling is not None:
        material, longer = material.resegmented(work.spelling, start.dense), work.spelling.longer
    loss = token_loss_on(material.batches(material.valid, CALIBRATION), material.task)
    losses["cut"] = loss(work.made) * longer  # for a token of the dense model
    how, checkpoints = start.recipe.recover, start.checkpoints("recover")
    small = recover_step(work.made, teacher, material, how, checkpoints, kept_width(work.final))
    losses["recovered"] = loss(small) * longer if how.steps else losses["cut"]
    start.note("validation loss: " + ", ".join(f"{name} {value:.3f}" for name, value in losses.items()))
    return replace(work, made=small, losses=losses)


# the steps that are stages of a run, by name
STEPS: Mapping[str, Step] = {
    "resegment": resegment,
    "profile": gather,
    "analyze": analyse,
    "distill-data": distill_data,
    "prune": regularise,
    "shrink": cut,
    "recover": recover,
}
