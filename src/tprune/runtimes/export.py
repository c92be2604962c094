"""Exports a (pruned) model to a folder that a runtime executes, and checks it first."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import PreTrainedTokenizerBase

from tprune.core.known_tasks import task_of
from tprune.core.precision import FP32, Precision
from tprune.core.task import Batch, Task
from tprune.counting.size import size
from tprune.families.graphs.graph import Graph, Listening, Skeleton, skeleton_of
from tprune.runtimes.certificate import ExportCertificate
from tprune.runtimes.exercised import exercised
from tprune.runtimes.export_pass import PassExport, single
from tprune.runtimes.export_speech import SpeechExport
from tprune.runtimes.export_translation import TranslationExport
from tprune.runtimes.forced import Replay, in_process_of_its_own, replay_of
from tprune.runtimes.layout import LAYOUT, Layout
from tprune.runtimes.onnxruntime.engine import ONNXRUNTIME
from tprune.runtimes.parity import LIMITS
from tprune.runtimes.possible import check_folder, check_supported
from tprune.runtimes.products import Product
from tprune.runtimes.report import ExportReport
from tprune.runtimes.runtime import (
    Checking,
    Elsewhere,
    GraphRuntime,
    ModelRuntime,
    Rounding,
    Runtime,
    blamed,
    graph_runtime,
)
from tprune.support.errors import InputError
from tprune.support.files import atomic_directory
from tprune.support.machine import version_of
from tprune.support.manifest import Manifest, digest

ENOUGH = 12  # sentences for the check of an export where nobody gives any for that alone


class Kind(Protocol):
    """What differs between exports of models that translate and of those that run in one pass.

    `plain` is the model in evaluation mode, float32, on the CPU.
    """

    def check(self) -> None:
        """Raises `InputError` for what does not belong to the model."""
        ...

    def check_tokens(self) -> None:
        """Raises `CertificateError` where the exported tokeniser gives other tokens."""
        ...

    def write_tokens(self, folder: Path) -> None:
        """Writes the tokeniser's files, checked."""
        ...

    @property
    def rows(self) -> tuple[int, ...]:
        """The tokens that the graphs know; none for all."""
        ...

    def inputs(self, plain: Any) -> Batch:
        """What the model is given."""
        ...

    def layout(self, plain: Any, layout: Layout) -> Layout:
        """The layout with what the kind adds."""
        ...

    def verify(self, plain: Any, folder: Path, precision: Precision, replay: Replay | None) -> ExportReport:
        """Compares what the folder computes with the model, in this process and by `replay`.

        Raises `CertificateError`.
        """
        ...


def export(
    model: Any,
    tokenizer: PreTrainedTokenizerBase | None,
    out: str | Path,
    sentences: Sequence[str] = (),
    runtime: Runtime = ONNXRUNTIME,
    *,
    batches: Sequence[Batch] = (),
    task: Task | None = None,
    precision: Precision = FP32,
    thorough: bool = True,
    checked: bool = True,
    fp32: Path | None = None,
    calibration: Sequence[Batch] = (),
) -> ExportReport:
    """Writes what the runtime executes, the tokeniser and `layout.json` into `out`, and checks what it computes.

    `certificate.json` says what was checked and found.

    Args:
        model: dense or pruned: an encoder-decoder that writes text (Marian, BART, mBART, M2M100, Pegasus, T5) or
            transcripts (Whisper), a LlamaForCausalLM or a decoder like it, or a model that runs in one pass; it is left
            as it was.
        tokenizer: the model's own; None for a model that reads and writes no text, or to export none.
        out: the folder; an older export there is replaced, but only after the new one passed its check.
        sentences: for the check; more of them check more. A translation model needs at least one.
        runtime: what it is for; onnxruntime has an ONNX file for each graph.
        batches: of the model's task, for the check of models that run in one pass, or hear recordings; random ones if
            neither these nor sentences are given.
        task: what the model is for; its own if not given.
        precision: that the exported model computes in.
        thorough: whether steps are also forced in a process that has done nothing before.
        checked: whether it is compared with PyTorch; without it there is no certificate, so use it for timing alone.
        fp32: an export of the same model for the same runtime in single precision, which spares lowering it again.
        calibration: batches of the model's task that the ranges of activations are measured on, where the precision
            has constant scales for them (int8-static); some hundred inputs. Without sentences and batches the first is
            checked, too. Other precisions do not use them.

    Raises:
        InputError: a model without graphs, a precision that the runtime does not run such models in, settings of
            `generate` that have no counterpart here, sentences, batches or a tokeniser that do not belong to the
            model, no calibration inputs where the precision needs some, or `out` holds something that is not an
            export.
        CertificateError: the graphs do not compute what the model computes, naming sentence or batch and step, or the
            exported tokeniser is another than the model's, naming the text.

    Example:
        ```python
        export(model, tokenizer, Path("small"), ["Two dogs play in the snow."]).greedy_equal  # 1
        ```
    """
    started, out = time.perf_counter(), Path(out)
    skeleton, task = skeleton_of(model), task or _task_of(model)
    inputs = tuple(calibration) if precision.numbers.calibrated else ()
    kind = kind_of(skeleton, task, model, tokenizer, sentences, batches or (() if sentences else inputs[:1]))
    kind.check()
    check_supported(runtime, precision, [skeleton.name], f"this {type(model).__name__}")
    _check_calibrated(precision, inputs)
    check_folder(out)
    with atomic_directory(out) as folder, _evaluated(model) as plain, blamed(runtime):
        kind.write_tokens(folder)
        layout, products = _written(skeleton, task, kind, plain, runtime, folder, precision, fp32, inputs)
        replace(layout, precision=precision).write(folder)
        report = ExportReport(0.0, ran=False)
        if runs := checked and not isinstance(runtime, Elsewhere):
            replay = replay_of(folder, runtime.name) if thorough else None
            report = kind.verify(plain, folder, precision, replay)
        certificate = _certificate(runtime, precision, report, products, thorough)
        certificate = replace(certificate, build=skeleton.name, layout=digest(folder / LAYOUT))
        if runs:
            replace(certificate, features=exercised(plain, skeleton.name, report)).write(folder)
        elif checked:
            replace(certificate, found={}, fresh=False, ran=False).write(folder)
        files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    return replace(report, precision=precision.name, files=files, seconds=time.perf_counter() - started)


def _check_calibrated(precision: Precision, inputs: Sequence[Batch]) -> None:
    if precision.numbers.calibrated and not inputs:
        raise InputError(
            f"{precision.name} measures activations on inputs of the model's task, and none are given; expected "
            "`calibration` (tprune export --precision int8 --calibration static --valid FILE)"
        )


def _certificate(
    runtime: Runtime, precision: Precision, report: ExportReport, products: Sequence[Product], thorough: bool
) -> ExportCertificate:
    found = {
        "relative": report.max_relative_error,
        **{name: float(getattr(report, name)) for name in ("rms", "kl", "top1", "same", "positions")},
    }
    return ExportCertificate(
        runtime.name,
        version_of(runtime.package),
        dict(runtime.toolchain()),
        precision,
        LIMITS[precision.name],
        found,
        report.steps,
        thorough and in_process_of_its_own(runtime.name),
        tuple(products),
    )


def check_exportable(
    model: Any,
    tokenizer: PreTrainedTokenizerBase | None,
    sentences: Sequence[str],
    runtime: Runtime = ONNXRUNTIME,
    task: Task | None = None,
    precision: Precision = FP32,
) -> None:
    """Whether `export` can do this, asked in a moment before hours of work.

    All but the check of what the graphs compute.

    Args:
        model: what would be exported, or what it will be made from.
        tokenizer: its own.
        sentences: on which both tokenisers are compared.
        runtime: what it would be for.
        task: what the model is for; its own if not given.
        precision: that it would compute in.

    Raises:
        InputError: a model without graphs, a precision that the runtime does not run such models in, settings of
            `generate` without counterpart, a tokeniser that cannot be exported, or a model that the runtime cannot run.
        CertificateError: the tokeniser's exported form gives other tokens.
    """
    skeleton, task = skeleton_of(model), task or _task_of(model)
    kind = kind_of(skeleton, task, model, tokenizer, sentences, ())
    kind.check()
    check_supported(runtime, precision, [skeleton.name], f"this {type(model).__name__}")
    with _evaluated(model) as plain, blamed(runtime):
        if isinstance(runtime, ModelRuntime):
            runtime.check_model(plain, layout_of(skeleton, task, kind, plain, (), runtime))
        elif isinstance(runtime, Checking):
            runtime.check(graphs_of(skeleton, task, kind, plain, graph_runtime(runtime)))
    kind.check_tokens()


def _task_of(model: Any) -> Task:
    try:
        return task_of(model)
    except InputError as error:
        raise InputError(f"cannot export this {type(model).__name__}: {error}") from None


def kind_of(
    skeleton: Skeleton, task: Task, model: Any, tokenizer: Any, sentences: Sequence[str], batches: Sequence[Batch]
) -> Kind:
    """What differs between exports of models that translate, that hear recordings, and of others."""
    if isinstance(skeleton, Listening):
        return SpeechExport(model, task, tokenizer, sentences, batches)
    made = TranslationExport if skeleton.searched else PassExport
    return made(model, task, tokenizer, sentences, batches)


def _written(
    skeleton: Skeleton,
    task: Task,
    kind: Kind,
    model: Any,
    runtime: Runtime,
    folder: Path,
    precision: Precision,
    fp32: Path | None,
    calibration: Sequence[Batch],
) -> tuple[Layout, Sequence[Product]]:
    """Writes what the runtime executes; the layout with the files of the folder, and the products."""
    if isinstance(runtime, ModelRuntime):
        layout = layout_of(skeleton, task, kind, model, (), runtime)
        runtime.check_model(model, layout)
        products = runtime.write_model(model, layout, folder, precision)
    else:
        lowering = graph_runtime(runtime)
        graphs = graphs_of(skeleton, task, kind, model, lowering)
        layout = layout_of(skeleton, task, kind, model, graphs, runtime)
        feeds = tuple({name: single(x).numpy() for name, x in task.prompt(batch).items()} for batch in calibration)
        graphs = tuple(replace(graph, calibration=feeds) for graph in graphs)
        if fp32 is not None and not precision.exact and isinstance(lowering, Rounding):
            products = lowering.rounded(graphs, fp32, folder, precision)
        else:
            products = lowering.write(graphs, folder, precision)
    return replace(layout, files=Manifest.of(folder)), products


def graphs_of(skeleton: Skeleton, task: Task, kind: Kind, model: Any, runtime: GraphRuntime) -> tuple[Graph, ...]:
    """The graphs of a model, as a runtime wants them."""
    return skeleton.graphs(model, task, kind.inputs(model), runtime.dialect, kind.rows)


def layout_of(
    skeleton: Skeleton, task: Task, kind: Kind, model: Any, graphs: Sequence[Graph], runtime: Runtime
) -> Layout:
    """The layout of a folder that has no files yet."""
    counted = size(model, task)
    layout = Layout(
        task=task.name,
        phases=runtime.phases if isinstance(runtime, ModelRuntime) else skeleton.phases,
        graphs=tuple(graph.signature for graph in graphs),
        limits=skeleton.limits(model),
        parameters=counted.parameters,
        macs=counted.macs,
        files=Manifest({}),
        runtime=runtime.name,
    )
    return kind.layout(model, layout)


@contextmanager
def _evaluated(model: Any) -> Iterator[Any]:
    """The model in evaluation mode, float32, on the CPU: itself where it is so already, else a copy."""
    if {(p.dtype, p.device.type) for p in model.parameters()} != {(torch.float32, "cpu")}:
        yield copy.deepcopy(model).to("cpu", torch.float32).eval()
        return
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, training in modes:
            module.training = training
