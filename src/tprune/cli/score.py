"""`tprune evaluate` of tasks whose models say everything in one pass.

It shows scores, baselines, and the difference of two models.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tprune.cli.described import described, processor_of
from tprune.cli.given import Given
from tprune.cli.sides import RunsIn
from tprune.core.known_tasks import TASKS, task_of
from tprune.core.precision import Precision
from tprune.core.score import Score
from tprune.core.task import Examples, KeepsOutputs, Predictions, Task
from tprune.families.graphs.graph import Listening, skeleton_of
from tprune.realise.checkpoint import load
from tprune.run.work import tokenizer_of
from tprune.runtimes.artefact import layout_file, read_layout
from tprune.runtimes.export import export
from tprune.runtimes.opened import open_exported
from tprune.runtimes.runtime import runtime_named
from tprune.support.errors import InputError
from tprune.support.machine import default_threads
from tprune.support.reporting import Report
from tprune.tasks.padding import pad_of
from tprune.tasks.scoring import compare, poor, scores

FEW = 50  # examples; resampling fewer says next to nothing of others


@dataclass(frozen=True)
class Side:
    """A model that is scored.

    Attributes:
        runs: what predicts: a module, or an exported model.
        describes: whose configuration its data is encoded by.
        processor: that encodes its inputs.
    """

    runs: Any
    describes: Any
    processor: Any

    @property
    def pad(self) -> int:
        """The id of padding."""
        return pad_of(self.describes)


def scored(
    task: str, model: str, against: str | None, given: Given, threads: int | None, report: Report, runs_in: RunsIn
) -> dict[str, Any]:
    """Scores of a model on test data, those of baselines, and its difference to another one by paired bootstrap.

    Args:
        task: by its name.
        model: an exported folder, a model's directory or a hub id.
        against: another model, by a name of the same kinds.
        given: the test data, and training data for baselines.
        threads: that run the models; the usable cores if not given.
        report: is told what is going on.
        runs_in: runtime and precision: PyTorch for a checkpoint, and those of an exported folder, if not given.

    Raises:
        InputError: no such model, one for another task, or data that does not fit.
    """
    known = TASKS.named(task)
    data: Any = {name: known.read(given.files[name], given.names) for name in ("test", "train") if name in given.files}
    torch.set_num_threads(threads or default_threads())
    with ExitStack() as folders:
        sides: dict[str, Side] = {}
        for name in dict.fromkeys(filter(None, (against, model))):
            folder = Path(folders.enter_context(tempfile.TemporaryDirectory()))
            sides[name] = _side(known, name, folder, threads, report, runs_in)
        encoded = {name: known.encode(data["test"], side.processor, side.describes) for name, side in sides.items()}
        examples = encoded[model]
        if any(list(each.lengths) != list(examples.lengths) for each in encoded.values()):
            raise InputError(f"{model} and {against} encode the test data otherwise, so their scores do not compare")
        predictions = {}
        for name, side in sides.items():
            report(f"{name}: scoring {len(examples):,} examples")
            predictions[name] = known.predict(side.runs, examples, side.pad)
        if isinstance(known, KeepsOutputs):
            examples = known.relative_to(examples, predictions.get(against or ""))
        train = known.encode(data["train"], sides[model].processor, sides[model].describes) if "train" in data else None
    return results(known, model, against, examples, predictions, train, report)


def results(
    task: Task,
    model: str,
    against: str | None,
    examples: Examples,
    predictions: Mapping[str, Predictions],
    train: Examples | None,
    report: Report,
) -> dict[str, Any]:
    """Scores of predictions by the names of models, of baselines, and the difference of two models.

    Args:
        task: of the models.
        model: whose predictions are compared with those of `against`, where there is one.
        against: see `model`.
        examples: that were predicted.
        predictions: by model.
        train: what baselines know; the examples themselves if not given.
        report: is told warnings.
    """
    found = {name: scores(task, each, examples) for name, each in predictions.items()}
    suffix = "" if train is not None else " of the test data"
    baselines = {
        f"{name}{suffix}": scores(task, each, examples)[0]
        for name, each in task.baselines(train if train is not None else examples, examples).items()
    }
    warnings = _warnings(found, baselines, examples)
    for line in warnings:
        report(f"warning: {line}")
    paired = None if against is None else asdict(compare(task, predictions[against], predictions[model], examples))
    return {
        "task": task.name,
        "model": model,
        "against": against,
        "scores": {name: [asdict(score) for score in each] for name, each in found.items()},
        "baselines": {name: asdict(score) for name, score in baselines.items()},
        "paired": paired,
        "warnings": warnings,
    }


def _warnings(found: Mapping[str, tuple[Score, ...]], baselines: Mapping[str, Score], examples: Examples) -> list[str]:
    lines = [*examples.notes]
    for name, each in found.items():
        lines += [f"{name}: {line}" for line in (*each[0].doubts, *poor(each, baselines))]
    if len(examples) < FEW:
        lines.append(
            f"{len(examples)} examples are few: the intervals are about these examples, not about a test set; "
            "expected some hundreds"
        )
    return lines


def _side(task: Task, name: str, folder: Path, threads: int | None, report: Report, runs_in: RunsIn) -> Side:
    """A model by its name; a checkpoint is exported into `folder` where a runtime or a precision is asked for."""
    runtime, precision = runs_in
    if layout_file(Path(name)) is not None:
        return _exported(task, Path(name), threads, runtime)
    loaded: Any = load(name, dtype=torch.float32).eval()
    task_of(loaded, task.name)
    processor = task.processor(name)
    if runtime is None and precision is None:
        return Side(loaded, loaded, processor)
    runtime = runtime or "onnxruntime"
    report(f"{name}: exporting to {runtime} for this, checked against PyTorch")
    export(
        loaded,
        tokenizer_of(processor) if isinstance(skeleton_of(loaded), Listening) else None,
        folder / "exported",
        (),
        runtime_named(runtime),
        task=task,
        precision=Precision(precision or "fp32"),
    )
    return Side(open_exported(folder / "exported", threads or default_threads()), loaded, processor)


def _exported(task: Task, folder: Path, threads: int | None, runtime: str | None) -> Side:
    layout = read_layout(folder)
    if layout.task != task.name:
        raise InputError(f"{folder}: an exported model for {layout.task}; expected one for {task.name}")
    if runtime is not None and layout.runtime != runtime:
        raise InputError(
            f"{folder}: exported for {layout.runtime}, not for {runtime}; leave out --runtime, or name the checkpoint"
        )
    opened = open_exported(folder, threads or default_threads())
    return Side(opened, described(folder, layout), processor_of(folder, task))
