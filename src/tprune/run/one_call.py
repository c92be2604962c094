"""`tprune.compress`: a trained model to a smaller one in one call, with the settings of `tprune prune` where nothing else is said."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase, TrainerCallback

from tprune.analysis.loss_curves import token_loss_on
from tprune.budget.evidence import (
    CALIBRATION,
    Clock,
    check_reachable,
    clock_step,
    confirm_step,
    interact_step,
    select_step,
    spelled_step,
)
from tprune.core.model import Tokenizer
from tprune.core.plan import Plan
from tprune.core.units import TIMES
from tprune.costs.latency.table import Setting
from tprune.costs.size import size_after
from tprune.counting.size import size
from tprune.data.parallel import Corpus, Parallel, sentence
from tprune.realise.belonging import check_tokenizer
from tprune.recipe.changes import BUILT_IN, changed, options, without_training
from tprune.recipe.reader import read_recipe
from tprune.recipe.schema import Analyze, Prune, Recover, unlearnt
from tprune.recipe.whole import from_whole
from tprune.run.compressed import Compressed, Timed
from tprune.run.steps import (
    analyse_step,
    cut_step,
    plan_step,
    recover_step,
    regularise_step,
    spell_step,
    teach_step,
)
from tprune.runtimes.export import ENOUGH, check_exportable, longest_output
from tprune.runtimes.runtime import runtime_named
from tprune.support.errors import InputError
from tprune.support.machine import check_threads
from tprune.support.reporting import Report
from tprune.tasks.translation.long_lines import LongLines
from tprune.train.losses import kept_width
from tprune.train.training_data import Material
from tprune.vocabulary.output_vocabulary import Spelling
from tprune.vocabulary.trim import writing


def compress(
    model: nn.Module,
    tokenizer: Tokenizer,
    train: Parallel | tuple[Sequence[str], Sequence[str]],
    valid: Parallel | tuple[Sequence[str], Sequence[str]],
    *,
    speedup: float | None = None,
    macs: float | None = None,
    params: float | None = None,
    bytes: float | None = None,
    latency_ms: float | None = None,
    memory_mb: float | None = None,
    kinds: Sequence[str] | None = None,
    steps: int | None = None,
    one_shot: bool = False,
    threads: int | None = None,
    batch: int | None = None,
    runtime: str | None = None,
    seed: int = 0,
    prune: Prune | None = None,
    recover: Recover | None = None,
    analyze: Analyze | None = None,
    setting: Setting | None = None,
    report: Report = lambda text: None,
) -> Compressed:
    """A trained translation model to a smaller one in one call; the given model stays as it is.

    One target says what it is to become; all else is what `tprune prune` does where nothing more is said. Print what comes back.

    Args:
        model: a Hugging Face model of a supported family.
        tokenizer: its tokeniser.
        train: sentence pairs to train on: what `tprune.read_pair` gives, or `(sources, translations)`.
        valid: likewise, for losses and the certificate.
        speedup: target, times faster on a sentence on this machine.
        macs: target, multiplications: a fraction of the dense model's up to 1, a number above.
        params: target, parameters; likewise.
        bytes: target, bytes of the weights; likewise.
        latency_ms: target, milliseconds a sentence on this machine.
        memory_mb: target, peak memory of the process that runs it, in 10⁶ bytes.
        kinds: of couplings that may be cut (default: ffn, heads, qk and vo).
        steps: of recovery (default: 3000).
        one_shot: train nothing.
        threads: of the runtime, where a time or memory is asked for (default: 1).
        batch: sentences at once, likewise (default: 1).
        runtime: that is timed, likewise (default: onnxruntime).
        seed: of batches and dropout.
        prune: all settings of pruning at once, its target among them, instead of `kinds` and a target.
        recover: all settings of recovery, instead of `steps`.
        analyze: BSSL settings, for an analysis first (default: none).
        setting: all settings of timing, instead of `threads`, `batch` and `runtime`.
        report: is told about each step, such as `print` (default: nobody).

    Raises:
        InputError: arguments that contradict each other, an unsupported model, or sentences that do not fit it.
        UnreachableError: the size or time cannot be reached.
        NoisyMachineError: a time is asked for, and this machine's cannot be measured.
        CertificateError: the cut model does not compute what the masked one computes.

    Example:
        `small = tprune.compress(model, tokenizer, train, valid, macs=0.5, one_shot=True); print(small)`
    """
    targets = {
        "speedup": speedup, "macs": macs, "params": params, "bytes": bytes, "latency_ms": latency_ms, "memory_mb": memory_mb,
    }  # fmt: skip
    if isinstance(kinds, str):
        raise InputError(f"kinds={kinds!r}: expected a list, such as kinds=[{kinds!r}]")
    for name, value in targets.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
            raise InputError(f"{name}={value!r}: expected a number")
    shape = {"kinds": kinds, "one_shot": one_shot or None}
    _instead("prune", prune, {**targets, **shape})
    _instead("recover", recover, {"steps": steps, "one_shot": one_shot or None})
    _instead("setting", setting, {"threads": threads, "batch": batch, "runtime": runtime})
    if one_shot and steps:
        raise InputError(f"one_shot=True trains nothing; leave out steps={steps}")
    if prune is None and all(value is None for value in targets.values()):
        raise InputError(
            f"what should it become? give one of {', '.join(targets)}, such as speedup=2, or prune=Prune(...)"
        )
    given = {
        "prune.kinds": list(kinds) if kinds else None, "recover.steps": steps, "seed": seed,
        "bench.threads": threads, "bench.batch": batch, "bench.runtime": runtime,
    } | (without_training(built_in=True) if one_shot else {})  # fmt: skip
    if prune is not None:
        targets = {"macs": 1.0}  # of the built-in recipe, which then says how to recover and what is timed alone
    recipe = changed(read_recipe(BUILT_IN), "compress", options(given, {}), targets, needed=True)
    timing = setting or Setting(recipe.bench.threads, recipe.bench.batch, runtime=recipe.bench.runtime)
    how, after = prune or recipe.prune, recover or recipe.recover
    if slip := unlearnt(how, after):
        raise InputError(slip)
    if how.timed:
        check_threads(timing.threads)
    elif unused := _said({"threads": threads, "batch": batch, "runtime": runtime}):
        raise InputError(f"{unused}: nothing is timed for {how.target()[0]}; leave them out")
    sides = pairs_of(train, "train"), pairs_of(valid, "valid")
    return _compress(model, tokenizer, *sides, how, after, analyze, timing, seed, report)


def pairs_of(given: Parallel | tuple[Sequence[str], Sequence[str]], name: str) -> Parallel:
    """Sentence pairs from what a user has: `Parallel`, or sources and translations as a pair of sequences.

    Raises:
        InputError: anything else; a string is no sequence of sentences.

    Example:
        >>> len(pairs_of((["a cat", "a dog"], ["x", "y"]), "train"))
        2
    """
    if isinstance(given, Parallel):
        return given
    expected = "expected tprune.read_pair(SOURCE, TRANSLATIONS), or (sources, translations), two lists of sentences"
    if not isinstance(given, tuple) or len(given) != 2:
        what = repr(given[:40]) if isinstance(given, str) else f"a {type(given).__name__}"
        raise InputError(f"{name}: got {what}; {expected}")
    for side, texts in zip(("sources", "translations"), given, strict=True):
        if isinstance(texts, (str, bytes)) or not isinstance(texts, Sequence):
            raise InputError(f"{name}: its {side} are a {type(texts).__name__}; {expected}")
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"{name}: number {number} of its {side} is a {type(text).__name__}; {expected}")
            if "\n" in sentence(text, f"{name}: number {number} of its {side}"):
                raise InputError(f"{name}: number {number} of its {side} has several lines; expected one sentence")
    return Parallel(tuple(given[0]), tuple(given[1]), name)


def _instead(whole: str, section: object, parts: Mapping[str, object]) -> None:
    """Raises `InputError` where both a whole section and single arguments say the same."""
    if section is not None and (given := _said(parts)):
        raise InputError(f"{whole}= says all of it; leave out {given}, or say it there")


def _said(parts: Mapping[str, object]) -> str:
    """Those arguments that were given, as they were typed."""
    return " and ".join(f"{name}={value!r}" for name, value in parts.items() if value is not None)


class _Counted(TrainerCallback):
    """Notes how many steps each training really took, by the stage that is under way."""

    def __init__(self) -> None:
        self.stage, self.steps = "", dict[str, int]()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.steps[self.stage] = self.steps.get(self.stage, 0) + int(state.global_step)


def _compress(
    model: Any, tokenizer: PreTrainedTokenizerBase, train: Parallel, valid: Parallel, how: Prune, after: Recover,
    analyze: Analyze | None, setting: Setting, seed: int, report: Report,
) -> Compressed:  # fmt: skip
    check_tokenizer(tokenizer, model.config, type(model).__name__)
    torch.manual_seed(seed)
    model = copy.deepcopy(model).float()  # what is trained needs full precision, and the given model stays as it is
    fitted, long = LongLines().fit_corpus(Corpus(train, valid, {}), model, tokenizer)
    train, valid = fitted.train, fitted.valid
    for line in long:
        report(f"warning: {line}")
    counted, asked = _Counted(), how.target()
    material = Material.of(model, tokenizer, train, valid, seed=seed, callbacks=(counted,))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        plan = plan_step(model, how)
        if how.timed or how.translates or after.translates:  # a runtime takes part: what it cannot do is said now
            check_exportable(model, tokenizer, valid.sample(ENOUGH).source, runtime_named(setting.runtime))
        else:
            longest_output(model)  # warns of a limit that nobody chose
        report(f"plan\n{plan}")
        found, counted.stage = None, "analyze"
        if analyze is not None:
            found = analyse_step(model, material, analyze, how.kinds, work / "analyse", report)
        spelling = spell_step(model, tokenizer, train.target, how)
        writer = model if spelling is None else writing(model, spelling.kept)
        if spelling is not None:
            how = from_whole(how, size(model), size(writer))
        clock, measured = _clock(model, writer, tokenizer, plan, material, valid, how, setting, spelling, report)
        goal = select_step(writer, plan, how, found, clock)
        report(f"goal\n{goal}")
        if how.translates or after.translates:
            material = teach_step(model, tokenizer, train, material, work / "taught", report)
        counted.stage = "prune"
        trained, plan = regularise_step(model, goal, material, how, work / "prune")
        small, certificate = cut_step(trained, plan, material, how.stock, spelling)
        teacher = copy.deepcopy(model).eval()
        losses = {"dense": token_loss_on(material.batches(material.valid, CALIBRATION))(teacher)}
        if spelling is not None:
            material = material.spelled(spelling, model)
        loss, longer = (
            token_loss_on(material.batches(material.valid, CALIBRATION)),
            spelling.longer if spelling else 1.0,
        )
        losses["cut"] = loss(small) * longer  # for a token of the dense model
        counted.stage = "recover"
        small = recover_step(small, teacher, material, after, work / "recover", kept_width(plan))
        if counted.steps.get("recover"):
            losses["recovered"] = loss(small) * longer
    times = None
    if clock is not None and clock.table is not None:
        dense, predicted = clock.table.dense.sentence * clock.faster, clock.table.predict_plan(goal).sentence
        times = Timed(dense, predicted, measured, setting)
    return Compressed(
        small, plan, certificate, found, asked, size(model), size_after(writer, goal), size(small), counted.steps, losses, times
    )  # fmt: skip


def _clock(
    model: Any, writer: Any, tokenizer: PreTrainedTokenizerBase, plan: Plan, material: Material, valid: Parallel, how: Prune,
    setting: Setting, spelling: Spelling | None, report: Report,
) -> tuple[Clock | None, float | None]:  # fmt: skip
    """What a budget shared by loss needs, and the measured milliseconds of the sizes that it leads to, where a time is asked for.

    `writer` is the model with the tokens alone that it is to write.
    """
    if not how.by_loss:
        return None, None
    check_reachable(writer, plan, how)
    timed = how.target()[0] in TIMES
    clock = clock_step(model, tokenizer, plan, material, valid.source, how, setting, report)
    if spelling is not None and timed:
        clock = spelled_step(clock, model, tokenizer, spelling, valid.source, report)
    clock = interact_step(writer, plan, how, clock, material, report)
    if not timed:
        return clock, None
    confirmed = confirm_step(writer, tokenizer, plan, how, clock, valid.source, report=report)
    return replace(clock, table=confirmed.table), confirmed.measured.sentence
