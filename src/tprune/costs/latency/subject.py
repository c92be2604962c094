"""What is timed of a model: the sentences that it translates, or passes over inputs of its task."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tprune.bench.work import NEW_TOKENS, Workload
from tprune.core.known_tasks import task_of
from tprune.core.labels import IGNORED
from tprune.core.model import Model, Tokenizer
from tprune.core.precision import Precision
from tprune.core.task import Batch, Examples, Task
from tprune.costs.latency.phases import Phases, phases_of
from tprune.costs.latency.table import TimingConfig
from tprune.families.graphs.graph import Listening, skeleton_of
from tprune.runtimes.artefact import read_translation
from tprune.runtimes.export import export
from tprune.runtimes.runtime import runtime_named
from tprune.runtimes.translator import Translator
from tprune.support.activity import doing
from tprune.support.errors import InputError
from tprune.support.texts import check_list
from tprune.tasks.beginnings import begun_with
from tprune.tasks.padding import pad_of

BATCHES = 4  # that passes are timed on in a round, each by itself
Inputs = (
    Sequence[str] | Examples | None
)  # source sentences; encoded examples of other tasks, or nothing for typical ones
Arrays = Mapping[str, NDArray[Any]]


class Subject(Protocol):
    """What is timed of one model and of what is cut from it, so that they differ in nothing else."""

    @property
    def phases(self) -> Phases:
        """Into which the time is split."""
        ...

    @property
    def tokens(self) -> float:
        """How often the last part is in the quoted time."""
        ...

    @property
    def sentences(self) -> Sequence[str] | None:
        """That are translated; none by other models."""
        ...

    @property
    def inputs(self) -> Sequence[Arrays]:
        """Of whole passes, by name."""
        ...

    @property
    def work(self) -> Workload:
        """As benchmarks are told."""
        ...

    def export(
        self,
        model: Model,
        out: Path,
        tokenizer: Tokenizer | None = None,
        precision: Precision | None = None,
        *,
        checked: bool = True,
    ) -> None:
        """Writes what is timed of a model.

        Args:
            model: to export.
            out: the folder.
            tokenizer: its own, where it is another.
            precision: that it computes in, where it is another than that of the configuration.
            checked: whether it is compared with PyTorch.
        """
        ...


def subject_of(
    model: Model,
    tokenizer: Tokenizer | None,
    inputs: Inputs,
    setting: TimingConfig,
    folder: Path,
    tokens: int | None = None,
    task: Task | None = None,
) -> Subject:
    """What is timed of a model, which is exported to `folder`.

    Args:
        model: dense.
        tokenizer: its own; only translation needs it.
        inputs: source sentences, or examples of the model's task.
        setting: batch and lengths.
        folder: for the dense model's export.
        tokens: that every sentence gets; as many as the model writes on average if not given.
        task: what the model is for; its own if not given.

    Raises:
        InputError: the model has no graphs, or inputs of another task.
    """
    task = task or task_of(model)
    check_inputs(model, inputs, task)
    if isinstance(skeleton_of(model), Listening):
        heard = Transcripts.of(model, tokenizer, examples_of(inputs), setting, tokens, task)
        with doing("exporting the dense model, to be timed"):
            heard.export(model, folder)
        return heard
    if skeleton_of(model).searched:
        sentences = () if inputs is None or isinstance(inputs, Examples) else tuple(inputs)
        return Translations.of(model, tokenizer, sentences, setting, folder, tokens, task)
    found = Passes.of(model, examples_of(inputs), setting, task)
    with doing("exporting the dense model, to be timed"):
        found.export(model, folder)
    return found


def check_inputs(model: Model, inputs: Inputs, task: Task | None = None) -> None:
    """Raises `InputError` unless a model that translates is given sentences, and another one examples, or nothing."""
    skeleton = skeleton_of(model)
    if skeleton.searched and not isinstance(skeleton, Listening):
        check_list(inputs, "sentences")
    elif inputs is not None and (not isinstance(inputs, Examples) or not len(inputs)):
        raise InputError(
            f"{type(model).__name__} is timed on examples of its task; expected what `encode` of "
            f"{(task or task_of(model)).name} gives, or None, got {type(inputs).__name__}"
        )


def examples_of(inputs: Inputs) -> Examples | None:
    """The inputs of a model that does not translate."""
    return inputs if isinstance(inputs, Examples) else None


@dataclasses.dataclass(frozen=True)
class Translations:
    """Sentences that are translated; all exports write as many tokens as the dense model does on average."""

    tokenizer: Tokenizer | None
    sentences: tuple[str, ...]
    setting: TimingConfig
    phases: Phases
    tokens: int
    task: Task

    inputs: Sequence[Arrays] = ()

    @staticmethod
    def of(
        model: Model,
        tokenizer: Tokenizer | None,
        sentences: tuple[str, ...],
        setting: TimingConfig,
        folder: Path,
        tokens: int | None,
        task: Task,
    ) -> Translations:
        """Exports the dense model, and counts the tokens that it writes where they are not given."""
        found = Translations(tokenizer, sentences, setting, phases_of(model, setting.runtime), tokens or 1, task)
        with doing("exporting the dense model, to be timed"):
            found._write(model, folder, tokenizer, setting.precision)
        with doing("translating a few sentences, for how long they are"):
            found = dataclasses.replace(found, tokens=found._written(folder) if tokens is None else tokens)
        layout, longest = read_translation(folder), found.tokens + 1  # with the start token
        generation = dataclasses.replace(layout.generation, min_length=longest, max_length=longest)
        dataclasses.replace(layout, generation=generation).write(folder)
        return found

    @property
    def work(self) -> Workload:
        """Greedy."""
        return Workload(self.setting.source, 0, 1, self.setting.sentences, self.phases.measured)

    def export(
        self,
        model: Model,
        out: Path,
        tokenizer: Tokenizer | None = None,
        precision: Precision | None = None,
        *,
        checked: bool = True,
    ) -> None:
        """A copy that writes `tokens` tokens for every sentence."""
        twin = copy.deepcopy(model).eval()
        config = twin.generation_config
        config.min_length = config.max_length = self.tokens + 1  # with the start token
        config.max_new_tokens = config.min_new_tokens = None
        self._write(twin, out, tokenizer or self.tokenizer, precision or self.setting.precision, checked)

    def _write(
        self, model: Model, out: Path, tokenizer: Tokenizer | None, precision: Precision, checked: bool = True
    ) -> None:
        runtime, few = runtime_named(self.setting.runtime), self.sentences[:1]
        how: dict[str, Any] = {"precision": precision, "thorough": False, "task": self.task, "checked": checked}
        export(model, out=out, tokenizer=tokenizer, sentences=few, runtime=runtime, **how)

    def _written(self, folder: Path) -> int:
        """How many tokens the model writes for a sentence, on average."""
        translator, count = Translator.load(folder), self.setting.sentences
        some = self.sentences[:: max(1, len(self.sentences) // count)][:count]
        written = translator.generate(translator.encode(some), beams=1)
        return max(1, round(sum(map(len, written)) / len(written)))


@dataclasses.dataclass(frozen=True)
class Transcripts:
    """Recordings that are transcribed; the transcripts of all models are as long as the middle one of the examples."""

    tokenizer: Tokenizer | None
    batches: Sequence[Batch]
    setting: TimingConfig
    phases: Phases
    tokens: int
    task: Task

    sentences: None = None
    inputs: Sequence[Arrays] = ()

    @staticmethod
    def of(
        model: Model,
        tokenizer: Tokenizer | None,
        examples: Examples | None,
        setting: TimingConfig,
        tokens: int | None = None,
        task: Task | None = None,
    ) -> Transcripts:
        """Takes a recording for the check of exports, and the length of transcripts, from the examples."""
        task = task or task_of(model)
        few = batches_of(model, examples, 1, task)[:1]
        most = min(skeleton_of(model).limits(model).values())
        begun = len(begun_with(model, tokenizer))
        longest = max(1, most - begun)
        found = tokens or setting.new_tokens or max(1, spoken(few[0], task) - begun + 1)
        if found > longest and (tokens or setting.new_tokens):
            raise InputError(f"{found} new tokens; {type(model).__name__} has positions for {longest} of a transcript")
        return Transcripts(tokenizer, few, setting, phases_of(model, setting.runtime), min(found, longest), task)

    @property
    def work(self) -> Workload:
        """Greedy; a step of the decoder is timed in the middle of a transcript."""
        return Workload(1, self.tokens // 2, 1, 1, self.phases.measured, self.tokens)

    def export(
        self,
        model: Model,
        out: Path,
        tokenizer: Tokenizer | None = None,
        precision: Precision | None = None,
        *,
        checked: bool = True,
    ) -> None:
        """As it is: how long transcripts are says the workload."""
        runtime, numbers = runtime_named(self.setting.runtime), precision or self.setting.precision
        how: dict[str, Any] = {"precision": numbers, "thorough": False, "task": self.task, "checked": checked}
        export(model, tokenizer or self.tokenizer, out, runtime=runtime, batches=self.batches, **how)


def spoken(batch: Batch, task: Task) -> int:
    """The outputs of the longest row of a batch of transcripts, with those that each begins with but the first."""
    return int((task.labels(batch) != IGNORED).sum(-1).max())


def workload_of(
    model: Model, tokenizer: Tokenizer | None, examples: Examples, setting: TimingConfig, task: Task
) -> tuple[Workload, Sequence[Arrays]]:
    """As benchmarks are told of a model that does not translate, and the inputs of whole passes.

    Args:
        model: dense.
        tokenizer: its own; only models that hear recordings need it.
        examples: of its task.
        setting: batch and lengths.
        task: what it is for.
    """
    if isinstance(skeleton_of(model), Listening):
        heard = Transcripts.of(model, tokenizer, examples, setting, task=task)
        return heard.work, heard.inputs
    passes = Passes.of(model, examples, setting, task)
    return passes.work, passes.inputs


@dataclasses.dataclass(frozen=True)
class Passes:
    """Passes over a few batches of examples of the task; of a language model prompts, and the steps after them."""

    batches: Sequence[Batch]
    inputs: Sequence[Arrays]
    setting: TimingConfig
    phases: Phases
    tokens: float
    prompt: int
    task: Task

    sentences: None = None

    @staticmethod
    def of(model: Model, examples: Examples | None, setting: TimingConfig, task: Task | None = None) -> Passes:
        """Takes the batches from the examples.

        Raises `InputError` for more new tokens than the model has positions for.
        """
        task = task or task_of(model)
        phases, tokens, prompt = phases_of(model, setting.runtime), 1, 0
        batches = batches_of(model, examples, setting.batch, task)
        if len(phases.parts) > 1:
            tokens, longest = _lengths(model, setting)
            batches = [{name: x[:, :longest] for name, x in batch.items()} for batch in batches]
            prompt = next(iter(batches[0].values())).shape[1]
        inputs = [{name: x.numpy() for name, x in task.prompt(batch).items()} for batch in batches]
        return Passes(batches, inputs, setting, phases, float(tokens), prompt, task)

    @property
    def work(self) -> Workload:
        """Steps are timed in the middle of what is written."""
        source = max(1, self.prompt)
        past, written = self.prompt + int(self.tokens) // 2, int(self.tokens) if len(self.phases.parts) > 1 else None
        return Workload(source, past, 1, BATCHES, self.phases.measured, written)

    def export(
        self,
        model: Model,
        out: Path,
        tokenizer: Tokenizer | None = None,
        precision: Precision | None = None,
        *,
        checked: bool = True,
    ) -> None:
        """Without a tokeniser: nothing that is timed reads text."""
        runtime, numbers = runtime_named(self.setting.runtime), precision or self.setting.precision
        few = self.batches[:1]
        how: dict[str, Any] = {"precision": numbers, "thorough": False, "task": self.task, "checked": checked}
        export(model, out=out, tokenizer=None, runtime=runtime, batches=few, calibration=few, **how)


def batches_of(model: Model, examples: Examples | None, size: int, task: Task | None = None) -> list[Batch]:
    """Batches of examples about as long as the median one; of the task's typical example where there are none."""
    task = task or task_of(model)
    if examples is None:
        one = {name: x.cpu() for name, x in task.example(model).items()}
        return [{name: x.repeat(size, *[1] * (x.dim() - 1)) for name, x in one.items()}] * BATCHES
    lengths = np.asarray(examples.lengths)
    nearest = np.argsort(np.abs(lengths - np.median(lengths)), kind="stable")
    pad = pad_of(model)
    places = np.resize(nearest[: BATCHES * size], (BATCHES, size))
    return [task.collate([examples[int(place)] for place in row], pad) for row in places]


def shapes_of(inputs: Sequence[Arrays]) -> list[dict[str, list[int]]]:
    """The sizes of inputs, for the key of a table."""
    return [{name: list(x.shape) for name, x in batch.items()} for batch in inputs]


def _lengths(model: Model, setting: TimingConfig) -> tuple[int, int]:
    """How many tokens a language model writes after the prompt, and how many the prompt may have."""
    most = min(skeleton_of(model).limits(model).values(), default=None)
    if most is None:
        return setting.new_tokens or NEW_TOKENS, 2**31
    tokens = setting.new_tokens or min(NEW_TOKENS, max(1, most // 2))
    if tokens >= most:
        raise InputError(f"{tokens} new tokens; {type(model).__name__} has {most} positions, one of them for a prompt")
    return tokens, most - tokens
