"""`tprune export`: a model to a folder that a runtime executes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from tprune.cli.calibration import inputs_for, recordings_for
from tprune.cli.described import describe
from tprune.cli.given import Given
from tprune.core.known_tasks import task_of
from tprune.core.precision import FP32, Precision
from tprune.core.task import Task, Transcribes
from tprune.data.synthetic.grammar import corpus
from tprune.families.graphs.graph import Listening, skeleton_of
from tprune.realise.checkpoint import load
from tprune.run.lookup import model_at
from tprune.run.work import tokenizer_of
from tprune.runtimes.export import export
from tprune.runtimes.onnxruntime.engine import OnnxRuntime
from tprune.runtimes.runtime import Runtime, runtime_named
from tprune.support.errors import InputError
from tprune.support.reporting import Report
from tprune.tasks.translation.long_lines import crop, lengths, too_long

CHECKED = 8  # sentences that an export is checked on where nothing else is said


def export_to(
    model: str,
    out: Path,
    sentences: Sequence[str] | None,
    report: Report = lambda text: None,
    runtime: str = "onnxruntime",
    precision: Precision = FP32,
    given: Given | None = None,
    opset: int | None = None,
) -> dict[str, Any]:
    """Exports a model for a runtime, checked on the given sentences, and returns what `ExportReport` says.

    `given` names the validation data that static int8 is calibrated on; `opset` is that of onnxruntime's files.

    Raises:
        InputError: no such model, or one that is exported already; see `export`.
        CertificateError: the export does not compute what the model computes.
    """
    target = _with_opset(runtime_named(runtime), opset)
    where = model_at(model)
    loaded = load(where, dtype=torch.float32).eval()
    try:
        skeleton, task = skeleton_of(loaded), task_of(loaded)
    except InputError as error:
        raise InputError(f"{model}: {error}") from None
    hears = isinstance(skeleton, Listening)
    searched = skeleton.searched and not hears
    how: dict[str, Any] = {"task": task, "precision": precision}
    if precision.numbers.calibrated and not searched:
        how["calibration"] = inputs_for(task, loaded, where, given or Given())
    tokenizer = _tokenizer(task, loaded, where, hears)
    if hears and given is not None and given.files:
        how["batches"] = recordings_for(task, loaded, where, given)
    if sentences is None:
        checked = f"{CHECKED} built-in English sentences" if searched else _inputs(how)
        other = "--valid FILE takes yours" if hears else "--sentences FILE takes yours"
        report(f"it will be checked on {checked}; {other}")
        sentences = built_in(tokenizer, skeleton.limits(loaded)["source"]) if searched else ()
    done = export(loaded, tokenizer, out, sentences, target, **how)
    if not searched:
        describe(loaded, where, out, isinstance(task, Transcribes) and tokenizer is None)
    return {"model": model, "out": str(out), "runtime": runtime, **asdict(done)}


def _with_opset(runtime: Runtime, opset: int | None) -> Runtime:
    """The runtime that writes files of an opset. Raises `InputError` for one that it does not write."""
    if opset is None:
        return runtime
    if not isinstance(runtime, OnnxRuntime):
        raise InputError(f"--opset {opset} is for files of ONNX, which runtime {runtime.name} does not have")
    return replace(runtime, opset=opset)


def _inputs(how: Mapping[str, Any]) -> str:
    return "some of the validation data" if {"calibration", "batches"} & set(how) else "random inputs"


def _tokenizer(task: Task, model: Any, where: str, hears: bool) -> Any:
    """The tokeniser of what a model reads or, where it hears recordings, writes; None where it does neither."""
    if hears:
        return tokenizer_of(task.processor(where))
    return task.processor(where) if reads_tokens(task, model) else None


def reads_tokens(task: Task, model: Any) -> bool:
    """Whether a model's inputs are token ids, and not numbers such as pixels."""
    return not any(x.is_floating_point() for x in task.prompt(task.example(model)).values())


def built_in(tokenizer: Any, positions: int) -> tuple[str, ...]:
    """Some sentences for a check where the user gives none, cut to the tokens that the model has positions for."""
    texts, count = corpus(train=200, valid=CHECKED, test=1).valid.source, lengths(tokenizer)[0]
    long = too_long(texts, count, positions)
    return tuple(crop(text, count, positions) if index in long else text for index, text in enumerate(texts))
