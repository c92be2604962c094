"""From a trained model to a smaller one: analyse, regularise, select, cut, recover. Each step alone, or all in one call."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, TrainerCallback

from tprune.analysis import Analysis, Blocks, analyse, with_harms, worth
from tprune.control import Controller
from tprune.data import Parallel
from tprune.distill import Mixed, Width, kept_width
from tprune.errors import InputError, UnreachableError
from tprune.latency import LatencyTable, Setting, Times
from tprune.latency_points import Timer, measured
from tprune.machine import cache_folder
from tprune.models import couplings, family_of
from tprune.plan import Mode, Plan, known_methods, make_plan
from tprune.policies import Target, keep_largest, select_size, select_to
from tprune.policies.latency import Confirmed, confirm, select_memory, select_within
from tprune.realise.certificate import Certificate, certify
from tprune.realise.shrink import shrink
from tprune.recipe import MEMORY, TIMES, Analyze, Prune, Recover, Stage, Taught
from tprune.regularise import Regulariser
from tprune.schedule import Training
from tprune.select import Limits, Select, Shared, Uniform
from tprune.sensitivity import Curve, sensitivities, token_loss_on
from tprune.tasks.translation import Collate, EncodedPairs, TokenBatches, encode, max_length
from tprune.teach import teach
from tprune.train import train

SAVE_EVERY = 100  # steps between the checkpoints that a killed stage goes on from
CALIBRATION = 256  # sentences on which a selection's loss is measured


@dataclass(frozen=True)
class Compressed:
    """What compression gives: the smaller model, the plan it came from, and the proof that cutting changed nothing."""

    model: Any
    plan: Plan
    certificate: Certificate
    analysis: Analysis | None


@dataclass(frozen=True)
class Material:
    """The sentences and settings that all steps share; `taught` has the teacher's translations of the training sources."""

    train: EncodedPairs
    valid: EncodedPairs
    pad: int = 0
    seed: int = 0
    precision: str = "auto"
    callbacks: tuple[TrainerCallback, ...] = ()
    taught: EncodedPairs | None = None

    @staticmethod
    def of(
        model: Any, tokenizer: PreTrainedTokenizerBase, train: Parallel, valid: Parallel, **settings: Any
    ) -> Material:
        """Encodes both sets for a model. Raises `InputError` naming a sentence that is too long for it."""
        limit = max_length(model)
        pad = int(model.config.pad_token_id)
        return Material(encode(train, tokenizer, limit), encode(valid, tokenizer, limit), pad, **settings)

    def run(
        self, model: Any, stage: Stage, work: Path, *, teacher: Any = None, width: Width | None = None,
        callbacks: Sequence[TrainerCallback] = (), save_every: int = 0, schedule: str = "cosine",
    ) -> list[dict[str, float]]:  # fmt: skip
        """Trains a model in place for one stage; one that is taught takes from the teacher what its weights ask for.

        Raises:
            InputError: `sequence` asks for translations that were not made, or `hidden` for states that do not match.
        """
        weights: dict[str, Any] = {}
        if isinstance(stage, Taught) and teacher is not None:
            weights = {key: getattr(stage, key) for key in ("distill", "hidden", "sequence", "rewind")}
        how = Training(
            stage.steps, stage.lr, stage.warmup, stage.tokens, stage.smoothing, **weights, precision=self.precision,
            seed=self.seed, eval_every=stage.eval_every, patience=stage.patience, schedule=schedule,
        )  # fmt: skip
        data: EncodedPairs | Mixed = self.train
        if how.sequence and self.taught is not None:
            data = Mixed(self.train, self.taught)
        return train(
            model, data, self.valid, how, work, teacher=teacher, width=width,
            callbacks=[*self.callbacks, *callbacks], save_every=save_every,
        )  # fmt: skip

    def batches(self, data: EncodedPairs, most: int | None = None, tokens: int = 4000) -> list[dict[str, Tensor]]:
        """Padded batches of a set, or of `most` sentences evenly spaced over it."""
        picked = np.linspace(0, len(data) - 1, min(most or len(data), len(data))).astype(int)
        collate = Collate(self.pad)
        return [collate([data[int(picked[i])] for i in rows]) for rows in TokenBatches(data.lengths[picked], tokens)]

    def batch(self, sentences: int = 8) -> dict[str, Tensor]:
        """Some validation sentences, of unequal length, as one padded batch."""
        rows = [self.valid[i] for i in range(min(sentences, len(self.valid)))]
        return Collate(self.pad)(rows)


def analyse_step(model: Any, material: Material, how: Analyze, kinds: Sequence[str], work: Path) -> Analysis:
    """BSSL: see `tprune.analysis`."""
    stage = Stage(steps=how.steps, lr=how.lr, warmup=how.steps // 10, tokens=how.tokens)

    def fit(twin: nn.Module, regulariser: Regulariser) -> None:
        material.run(twin, stage, work, callbacks=[regulariser], schedule="constant_with_warmup")

    shown = tuple(kind for kind in kinds if kind != "lines")
    found = analyse(
        model, fit, kinds=shown, strength=how.strength, steps=how.steps, multiples=how.path, blocks=Blocks(how.blocks),
        loss=token_loss_on(material.batches(material.valid)),
    )  # fmt: skip
    if not shown:
        return found
    return with_harms(
        found, model, couplings(model, shown), token_loss_on(material.batches(material.train, CALIBRATION))
    )


def plan_step(model: Any, how: Prune) -> Plan:
    """The plan before training: couplings, method, strength.

    Raises:
        InputError: a kind the family does not have, or one that a stock checkpoint cannot hold.
    """
    if how.stock and set(how.kinds) != {"ffn"}:
        raise InputError(f"prune: a stock checkpoint can only express pruned FFN units (kinds: [ffn]), got {how.kinds}")
    how.target()
    return make_plan(
        model, family_of(model).name, couplings(model, how.kinds),
        method=known_methods()[how.method](), mode=Mode(how.mode), strengths=how.strength,
    )  # fmt: skip


@dataclass(frozen=True)
class Clock:
    """What a budget shared by loss needs: the loss that each coupling adds, and, for a time or memory, this machine's table."""

    table: LatencyTable | None
    curves: tuple[Curve, ...]

    def milliseconds(self, how: Prune) -> float:
        """The time asked for, for one sentence."""
        unit, value = how.target()
        return value if unit == "latency_ms" else self.timed(how).predict({}).sentence / value

    def timed(self, how: Prune) -> LatencyTable:
        """The table. Raises `InputError` when there is none."""
        if self.table is None:
            raise InputError(
                f"{how.target()[0]} needs a latency table of this machine; see tprune.compression.clock_step"
            )
        return self.table


def clock_step(
    model: Any, tokenizer: PreTrainedTokenizerBase, plan: Plan, material: Material, sentences: Sequence[str], how: Prune,
    setting: Setting, report: Callable[[str], None] = lambda text: None,
) -> Clock:  # fmt: skip
    """Measures what the plan's couplings cost in loss, and where a time or memory is asked for, what they cost on this machine.

    Points of latency tables are measured once for a machine and model, and kept in the user's cache.

    Raises:
        NoisyMachineError: times differ too much between repetitions.
    """
    table = None
    if how.timed:
        kinds = how.kinds if how.target()[0] in TIMES else ()
        cache = cache_folder() / "latency"
        table = measured(model, tokenizer, sentences, setting, cache, report, kinds, removal=how.floor == 0)
    report("loss of each coupling at each size, on validation sentences")
    loss = token_loss_on([material.batch(CALIBRATION)])
    return Clock(table, sensitivities(model, plan, loss, limits_of(how)))


def confirm_step(
    model: Any, tokenizer: PreTrainedTokenizerBase, plan: Plan, how: Prune, clock: Clock, sentences: Sequence[str],
    time: Callable[[Plan], Times] | None = None,
) -> Confirmed:  # fmt: skip
    """Times the plan that is chosen for a time, and corrects the table until it predicts it; see `tprune.policies.latency.confirm`.

    Select with the clock of the corrected table afterwards: `dataclasses.replace(clock, table=confirmed.table)`.

    Args:
        model: the dense model.
        tokenizer: its own.
        plan: before selection.
        how: with a time as target.
        clock: see `clock_step`.
        sentences: source sentences.
        time: measures a selected plan; on this machine if not given.

    Raises:
        InputError: no time is asked for.
        NoisyMachineError: times differ too much between repetitions.
        UnreachableError: what was predicted to be fast enough is not, and nothing is.
    """
    if how.target()[0] not in TIMES:
        raise InputError(f"prune: only a time can be confirmed, got {how.target()[0]}")
    table, budget = clock.timed(how), clock.milliseconds(how)

    def choose(with_table: LatencyTable) -> Plan:
        return select_within(model, plan, with_table, clock.curves, budget)

    if time is not None:
        return confirm(choose, table, time)
    with tempfile.TemporaryDirectory() as folder:
        timer = Timer(model, tokenizer, tuple(sentences), table.setting, Path(folder))
        return confirm(choose, table, lambda chosen: timer.times(chosen, table))


def limits_of(how: Prune) -> Limits:
    """What a selection must respect."""
    return Limits({str(kind): multiple for kind, multiple in how.multiple.items()}, how.floor)


def select_step(model: Any, plan: Plan, how: Prune, analysis: Analysis | None, clock: Clock | None = None) -> Plan:
    """Fills in what the plan keeps so that the size, time or memory asked for is reached.

    A size shared by loss is shared alike before the losses are known, without a clock: it says what can be reached.

    Raises:
        InputError: a time or memory is asked for without a clock.
        UnreachableError: saying what can be reached.
    """
    unit, value = how.target()
    if how.timed and clock is None:
        raise InputError(f"{unit} needs a latency table of this machine; see tprune.compression.clock_step")
    try:
        if how.by_loss and clock is not None:
            if unit in TIMES:
                return select_within(model, plan, clock.timed(how), clock.curves, clock.milliseconds(how))
            if unit in MEMORY:
                return select_memory(model, plan, float(clock.timed(how).peak_memory), clock.curves, value)
            return select_size(model, plan, Target(unit, value), clock.curves)
        return select_to(model, plan, Target(unit, value), _select(how, plan, analysis))
    except UnreachableError as error:
        if how.stock:
            raise UnreachableError(f"{error} (--stock cuts FFN units only)") from None
        raise


def teach_step(
    model: Any, tokenizer: PreTrainedTokenizerBase, pairs: Parallel, material: Material, out: Path,
    report: Callable[[str], None] = lambda text: None,
) -> Material:  # fmt: skip
    """The material with the model's translations of the training sentences, made in `out`; see `tprune.teach`."""
    said = teach(model, tokenizer, pairs, out, threads=torch.get_num_threads(), report=report)
    return replace(material, taught=encode(said, tokenizer, max_length(model)))


def _select(how: Prune, plan: Plan, analysis: Analysis | None) -> Select:
    limits = limits_of(how)
    if how.stock or how.budget != "analysis" or analysis is None:
        return Uniform(limits)
    return Shared(worth(analysis, plan), limits=limits)


def regularise_step(model: Any, goal: Plan, material: Material, how: Prune, work: Path) -> tuple[Any, Plan]:
    """A copy of the model, trained until what the goal cuts has faded out, and the plan with the groups that are left.

    The goal says how many groups each coupling keeps; which ones, the training decides. The model is the teacher.
    """
    twin = copy.deepcopy(model)
    if how.steps:
        # the last quarter, at the lowest learning rates, mends
        controller = Controller(goal, max(1, how.steps * 3 // 4))
        regulariser = Regulariser(twin, goal, max(1, how.steps // 10), controller)
        material.run(twin, how, work, teacher=model, callbacks=[regulariser], save_every=SAVE_EVERY)
    return twin.eval(), keep_largest(twin, goal)


def cut_step(model: Any, plan: Plan, material: Material, stock: bool) -> tuple[Any, Certificate]:
    """The smaller model and its certificate.

    Raises:
        CertificateError: the cut changed what the model computes.
    """
    small = shrink(model, plan, stock=stock)
    return small, certify(model.eval(), plan, small, material.batch())


def recover_step(
    small: Any, teacher: Any, material: Material, how: Recover, work: Path, width: Width | None = None
) -> Any:
    """Fine-tunes the cut model in place, with the dense model as its teacher.

    `width` says which residual dimensions were kept (`tprune.distill.kept_width` of the plan); only `hidden` needs it.
    """
    if how.steps:
        material.run(small, how, work, teacher=teacher, width=width, save_every=SAVE_EVERY)
    return small.eval()


def compress(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    train: Parallel,
    valid: Parallel,
    *,
    prune: Prune,
    recover: Recover,
    analyze: Analyze | None = None,
    seed: int = 0,
    report: Callable[[str], None] = lambda text: None,
) -> Compressed:
    """A trained translation model to a smaller one in one call; the given model stays as it is.

    Args:
        model: a Hugging Face model of a supported family.
        tokenizer: its tokeniser.
        train: sentence pairs to train on; `valid` to certify on.
        valid: see `train`.
        prune: what to prune, how, and the size to reach, e.g. `Prune(steps=500, macs=0.5)`.
        recover: fine-tuning afterwards, e.g. `Recover(steps=1000)`.
        analyze: BSSL settings; without them every coupling keeps the same share.
        seed: of batches and dropout.
        report: is told about each step.

    Raises:
        InputError: an unsupported model, or sentences that do not fit it.
        UnreachableError: the size or time cannot be reached.
        NoisyMachineError: a time is asked for, and this machine's cannot be measured.
        CertificateError: the cut model does not compute what the masked one computes.
    """
    torch.manual_seed(seed)
    model = copy.deepcopy(model).float()  # what is trained needs full precision, and the given model stays as it is
    material = Material.of(model, tokenizer, train, valid, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        plan = plan_step(model, prune)
        report(f"plan\n{plan}")
        found = analyse_step(model, material, analyze, prune.kinds, work / "analyse") if analyze else None
        clock = None
        if prune.by_loss:
            clock = clock_step(model, tokenizer, plan, material, valid.source, prune, Setting(), report)
        goal = select_step(model, plan, prune, found, clock)
        report(f"goal\n{goal}")
        if prune.translates or recover.translates:
            material = teach_step(model, tokenizer, train, material, work / "taught", report)
        trained, plan = regularise_step(model, goal, material, prune, work / "prune")
        small, certificate = cut_step(trained, plan, material, prune.stock)
        teacher = copy.deepcopy(model).eval()
        small = recover_step(small, teacher, material, recover, work / "recover", kept_width(plan))
    return Compressed(small, plan, certificate, found)
