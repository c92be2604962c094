"""`tprune.compress`: a trained model to a smaller one in one call.

Settings are those of `tprune prune` where nothing else is said.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback

from tprune.core.data import Data
from tprune.core.known_tasks import TASKS, task_of
from tprune.core.model import Processor
from tprune.core.task import Task, WritesSentences
from tprune.core.words import words_of
from tprune.costs.latency.table import TimingConfig
from tprune.costs.size import size_after
from tprune.counting.size import size
from tprune.data.parallel import Parallel, sentence
from tprune.data.splits import Splits
from tprune.realise.belonging import check_tokenizer
from tprune.recipe.changes import built_in, changed, options, without_training
from tprune.recipe.reader import read_recipe
from tprune.recipe.restrictions import unlearnt
from tprune.recipe.schema import Analyze, Prune, Recipe, Recover
from tprune.run.compressed import Compressed, Latencies
from tprune.run.multiples import liked, with_multiples
from tprune.run.numbers import check_auto
from tprune.run.preparation import preparation_of, some_of
from tprune.run.sequence import STEPS, begin, to_goal, to_small
from tprune.run.translation import TRAINED
from tprune.run.work import Start, Work, tokenizer_of
from tprune.runtimes.export import check_exportable
from tprune.runtimes.generation_settings import longest_output
from tprune.runtimes.runtime import check_runs, runtime_named
from tprune.support.errors import InputError
from tprune.support.machine import check_threads
from tprune.support.reporting import Report
from tprune.train.one_process import processes
from tprune.train.training_data import TrainingData


def compress(
    model: nn.Module,
    processor: Processor | None,
    train: Data | tuple[Sequence[str], Sequence[str]],
    valid: Data | tuple[Sequence[str], Sequence[str]],
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
    precision: str | None = None,
    seed: int = 0,
    prune: Prune | None = None,
    recover: Recover | None = None,
    analyze: Analyze | None = None,
    setting: TimingConfig | None = None,
    task: Task | None = None,
    report: Report = lambda text: None,
) -> Compressed:
    """A trained model to a smaller one in one call; the given model stays as it is.

    One target says what it is to become; all else is what `tprune prune` does where nothing more is said. Print what
    comes back.

    Args:
        model: of a supported family and task.
        processor: what encodes its inputs: its tokeniser, or its image preprocessing; None for data that is encoded
            already.
        train: data to train on, as the task reads it, such as `LabeledTexts`; for translation what `tprune.read_pair`
            gives, or `(sources, translations)`.
        valid: likewise, for losses and the certificate.
        speedup: target, times faster on an input (a sentence) on this machine.
        macs: target, multiplications: a fraction of the dense model's up to 1, a number above.
        params: target, parameters; likewise.
        bytes: target, bytes of the weights; likewise.
        latency_ms: target, milliseconds an input on this machine.
        memory_mb: target, peak memory of the process that runs it, in 10⁶ bytes.
        kinds: of couplings that may be cut (default: ffn, heads, qk and vo).
        steps: of recovery (default: that of the task's built-in recipe; of translation 3000).
        one_shot: train nothing.
        threads: of the runtime, where a time or memory is asked for (default: 1).
        batch: inputs at once, likewise (default: 1).
        runtime: that is timed, likewise (default: onnxruntime).
        precision: in which the small model is timed, likewise (default: fp32); with `auto` the plan that comes back
            says which weights are to be fp32 in int8.
        seed: of batches and dropout.
        prune: all settings of pruning at once, its target among them, instead of `kinds` and a target.
        recover: all settings of recovery, instead of `steps`.
        analyze: BSSL settings, for an analysis first (default: none).
        setting: all settings of timing, instead of `threads`, `batch`, `runtime` and `precision`.
        task: what the model is for (default: the task that it is made for).
        report: is told about each step, such as `print` (default: nobody).

    Raises:
        InputError: arguments that contradict each other, an unsupported model, data that does not fit it, or options
            that mean nothing for its task.
        UnreachableError: the size or time cannot be reached.
        NoisyMachineError: a time is asked for, and this machine's cannot be measured.
        CertificateError: the cut model does not compute what the masked one computes.

    Example:
        `small = tprune.compress(model, tokenizer, train, valid, macs=0.5, one_shot=True); print(small)`
    """
    targets = {
        "speedup": speedup,
        "macs": macs,
        "params": params,
        "bytes": bytes,
        "latency_ms": latency_ms,
        "memory_mb": memory_mb,
    }
    timed = {"threads": threads, "batch": batch, "runtime": runtime, "precision": precision}
    shape = {"kinds": kinds, "one_shot": one_shot or None}
    _check_targets(targets, kinds)
    _instead("prune", prune, {**targets, **shape})
    _instead("recover", recover, {"steps": steps, "one_shot": one_shot or None})
    _instead("setting", setting, timed)
    if one_shot and steps:
        raise InputError(f"one_shot=True trains nothing; leave out steps={steps}")
    if prune is None and all(value is None for value in targets.values()):
        raise InputError(
            f"what should it become? give one of {', '.join(targets)}, such as speedup=2, or prune=Prune(...)"
        )
    given = {
        "prune.kinds": list(kinds) if kinds else None,
        "recover.steps": steps,
        "seed": seed,
        **{f"bench.{key}": value for key, value in timed.items()},
        **(without_training(built_in=True) if one_shot else {}),
    }
    if prune is not None:
        targets = {"macs": 1.0}  # of the built-in recipe, which then says how to recover and what is timed alone
    if processes() > 1:
        raise InputError(
            f"this is one of {processes()} processes (torch.distributed); compress measures and chooses in one: start "
            "it without a launcher, or use the command: torchrun --nproc_per_node 2 -m tprune prune ..."
        )
    task = task or (task_of(model) if isinstance(model, nn.Module) else TASKS[TRAINED])
    recipe = changed(read_recipe(built_in(task.name)), "compress", options(given, {}), targets, needed=True)
    recipe = _with(recipe, prune, recover, analyze)
    how = recipe.bench
    chosen = setting or TimingConfig(how.threads, how.batch, runtime=how.runtime, precision=how.numbers)
    if recipe.prune.timed:
        check_threads(chosen.threads)
    elif unused := _said(timed):
        raise InputError(f"{unused}: nothing is timed for {recipe.prune.target()[0]}; leave them out")
    check_auto(recipe)
    preparation_of(task).check_options(recipe)
    sides = data_of(task, train, "train"), data_of(task, valid, "valid")
    recipe = with_multiples(recipe, liked(recipe, chosen, report, tunable=prune is None))
    return _compress(model, processor, sides, recipe, chosen, report, task)


def _check_targets(targets: Mapping[str, object], kinds: object) -> None:
    """Raises `InputError` for a target that is no number, or kinds that are no list."""
    if isinstance(kinds, str):
        raise InputError(f"kinds={kinds!r}: expected a list, such as kinds=[{kinds!r}]")
    for name, value in targets.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
            raise InputError(f"{name}={value!r}: expected a number")


def _with(recipe: Recipe, prune: Prune | None, recover: Recover | None, analyze: Analyze | None) -> Recipe:
    """The recipe with those sections that are given as a whole; without an analysis unless one is.

    Raises `InputError`.
    """
    sections = {"prune": prune or recipe.prune, "recover": recover or recipe.recover}
    found = recipe.model_copy(update={**sections, "analyze": analyze or Analyze(steps=0)})
    if slip := unlearnt(found.prune, found.recover):
        raise InputError(slip)
    return found


def data_of(task: Task, given: object, name: str) -> Data:
    """Data from what a user has. Raises `InputError` for what is none, or, for translation, as `pairs_of`."""
    if isinstance(task, WritesSentences):
        return pairs_of(given, name)
    if not isinstance(given, Data):
        raise InputError(
            f"{name}: got a {type(given).__name__}; expected data for {task.name}, such as its `read` gives"
        )
    return given


def pairs_of(given: object, name: str) -> Parallel:
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
    model: Any,
    processor: Any,
    sides: tuple[Data, Data],
    recipe: Recipe,
    setting: TimingConfig,
    report: Report,
    task: Task,
) -> Compressed:
    """The sequence of `tprune.run.sequence` in memory, its checkpoints in a folder that goes with it."""
    tokenizer = tokenizer_of(processor)
    if tokenizer is not None:
        check_tokenizer(tokenizer, model.config, type(model).__name__)
    torch.manual_seed(recipe.seed)
    dense = copy.deepcopy(model).float()  # what is trained needs full precision, and the given model stays as it is
    counted, prepared = _Counted(), preparation_of(task)
    corpus, unfit = prepared.fitted(recipe.data, Splits(*sides, {}), dense, processor)
    material = TrainingData.of(
        task, dense, processor, corpus.train, corpus.valid, seed=recipe.seed, callbacks=(counted,)
    )
    for line in (*unfit, *material.notes):
        report(f"warning: {line}")

    def take(name: str, work: Work) -> Work:
        counted.stage = name
        return STEPS[name](work)

    with tempfile.TemporaryDirectory() as folder:
        sentences = prepared.sentences(corpus.valid)
        start = Start(dense, processor, corpus, recipe, setting, Path(folder), report, sentences=sentences)
        work = begin(start, material)
        _check_runtime(work)
        report(f"plan\n{work.plan}")
        work = to_goal(work, take)
        report(f"goal\n{work.goal}")
        work = to_small(work, take)
    return _outcome(work, counted.steps)


def _check_runtime(work: Work) -> None:
    """Where a runtime takes part, what it cannot do is said now. Raises as `check_exportable`."""
    start, prune, recover = work.start, work.start.recipe.prune, work.start.recipe.recover
    task = work.material.task
    if prune.timed or prune.translates or recover.translates:
        check_runs(runtime := runtime_named(start.setting.runtime))
        sentences = preparation_of(task).sentences(some_of(start.corpus.valid))
        check_exportable(start.dense, tokenizer_of(start.processor), sentences, runtime, task)
    elif isinstance(task, WritesSentences):
        longest_output(start.dense)  # warns of a limit that nobody chose


def _outcome(work: Work, steps: Mapping[str, int]) -> Compressed:
    """What a finished compression has made."""
    dense, recovered, task = work.start.dense, bool(steps.get("recover")), work.material.task
    assert work.certificate is not None
    return Compressed(
        work.made,
        work.final,
        work.certificate,
        work.analysis,
        work.start.recipe.prune.target(),
        dense=size(dense, task),
        predicted=size_after(work.writer, work.goal, task),
        reached=size(work.made, task),
        steps=steps,
        losses={name: loss for name, loss in work.losses.items() if recovered or name != "recovered"},
        times=_times(work),
        words=words_of(task),
    )


def _times(work: Work) -> Latencies | None:
    evidence = work.evidence
    if evidence is None or evidence.table is None:
        return None
    table = evidence.table
    dense, predicted = table.dense.total * evidence.faster, table.predict_plan(work.goal).total
    return Latencies(dense, predicted, work.measured, work.start.setting, table.phases.quoted)
