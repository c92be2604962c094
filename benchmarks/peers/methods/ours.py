"""This toolkit's pipeline: all kinds of couplings share the milliseconds by the loss they add, as measured with what
reads them
fitted again; then one shot, or training that fades the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from benchmarks.peers.compute import step_units
from benchmarks.peers.job import Job, Made, cut, if_off
from tprune.budget.evidence import Evidence, measure_loss_curves
from tprune.budget.samples import ALONE, CALIBRATION, FITTED
from tprune.core.kinds import Kind
from tprune.data.parallel import Corpus, Parallel
from tprune.recipe.schema import Analyze, Data, Prune, Recipe, Recover, Train
from tprune.run.sequence import begin, regularise, searched, select
from tprune.run.work import Start
from tprune.tasks.translation.encoding import EncodedPairs
from tprune.vocabulary.output_vocabulary import find_resegmentation
from tprune.vocabulary.trim import write_only_

EVERYTHING: tuple[Kind, ...] = ("ffn", "heads", "qk", "vo")
TWO: tuple[Kind, ...] = ("ffn", "heads")
SEARCH = 16


def ours(job: Job) -> Made:
    """FFN units, heads and dimensions inside heads, cut in one shot."""
    return by_loss(job, EVERYTHING)


def ours_regain(job: Job) -> Made:
    """FFN units and heads, where three quarters of what FFN units cost are taken to be won back by training."""
    return by_loss(job, TWO, regain={"ffn": 0.75})


def ours_regain_inside(job: Job) -> Made:
    """`ours_regain`, and dimensions inside heads."""
    return by_loss(job, EVERYTHING, regain={"ffn": 0.75})


def ours_fewer_tokens(most: int) -> Callable[[Job], Made]:
    """`ours`, and at most so many tokens are written; words with others are spelled with shorter ones."""

    def make(job: Job) -> Made:
        spelling = find_resegmentation(job.dense, job.tokenizer, job.targets, most)
        made = ours(replace(job, speed=job.speed.with_output_vocabulary(job.dense, spelling)))
        write_only_(made.model, spelling.kept)
        note = f"{len(spelling.kept):,} tokens are written, {spelling.longer:.2f} times as many a sentence"
        return replace(made, spelling=spelling, notes=(*made.notes, note))

    return make


def ours_two_kinds(job: Job) -> Made:
    """FFN units and heads alone, and sublayers may go, in the style of ZipLM (Kurtić, Frantar and Alistarh, 2023)."""
    return by_loss(job, TWO, empties=TWO)


def ours_faded(job: Job) -> Made:
    """FFN units and heads, their sizes as in `ours`, but structured Hoyer-square training fades out what is cut, and
    chooses it.
    """
    return by_loss(job, TWO, fade=True)


def by_loss(
    job: Job,
    kinds: Sequence[Kind],
    fade: bool = False,
    empties: Sequence[Kind] = (),
    regain: Mapping[Kind, float] | None = None,
) -> Made:
    """Measures, selects, cuts; `empties`: kinds of which a sublayer may be left with nothing but its mean.

    `regain`: see the recipe.
    """
    stage, limits = job.recovery.stage, job.limits
    steps = job.pruning_steps if fade else 0
    how = Prune(
        **stage.model_dump(exclude={"steps"}),
        steps=steps,
        kinds=list(kinds),
        speedup=job.target,
        search=SEARCH,
        multiple=dict(limits.multiple),
        floor=limits.floor,
        floors=dict.fromkeys(empties, 0.0),
        expected_recovery=dict(regain or {}),
    )
    work = begin(start_of(job, how), job.material)
    curves = measure_loss_curves(job.dense, work.plan, how, job.material)
    looks = 1 + sum(len(curve.kept) - 1 for curve in curves)
    work = select(searched(replace(work, evidence=Evidence(job.speed.table, curves, job.speed.faster))))
    work = regularise(replace(work, material=job.recovery.material))
    valid, train = job.material.valid, job.material.train
    spent = (
        looks * passes(job, valid, ALONE)
        + (SEARCH + 2) * passes(job, valid, CALIBRATION)
        + 3 * passes(job, train, FITTED)
    )
    notes = if_off(job, job.speed.of_plan(work.final), "sizes that add no loss are cut without being asked for")
    return cut(job, work.made, work.final, spent + steps * step_units(1.0, how.distill > 0), *notes)


def start_of(job: Job, how: Prune) -> Start:
    """Where the sequence starts; it is told the translations alone, since no step that is taken here reads words."""
    words = Parallel(tuple(job.targets), tuple(job.targets), "translations")
    recipe = Recipe(data=Data(), train=Train(steps=0), analyze=Analyze(steps=0), prune=how, recover=Recover(steps=0))
    return Start(job.dense, job.tokenizer, Corpus(words, words, {}), recipe, job.speed.table.setting, job.work)


def passes(job: Job, data: EncodedPairs, sentences: int) -> float:
    """Units of one look at so many sentences, padding included."""
    return (
        sum(batch["labels"].numel() for batch in job.material.batches(data, sentences))
        / job.recovery.stage.batch_tokens
    )
