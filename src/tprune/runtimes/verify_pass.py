"""Whether an exported folder computes the logits that the PyTorch model computes, in one pass and step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tprune.core.graph import TOTAL
from tprune.core.precision import FP32, Precision
from tprune.core.task import Batch, Subsamples, Task
from tprune.runtimes.forced import CHUNK, FED, STEPS, Job, Replay, forced
from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.parity import Agreement, Where
from tprune.runtimes.report import ExportReport, report_of
from tprune_runtime.decoding import Floats

Run = Callable[[Job], Floats]


@dataclass(frozen=True)
class Reference:
    """The PyTorch model, without a cache: slow, and right whatever was pruned."""

    model: Any
    task: Task

    @torch.no_grad()
    def logits(self, batch: Batch) -> Floats:
        """Logits, of a model that evaluates."""
        found: Floats = self.task.run(self.model, batch).logits.numpy()
        return found

    def counts(self, batch: Batch, logits: Floats) -> NDArray[np.bool_]:
        """Which logits (all axes but the last) are of no padding."""
        if logits.ndim == 2:
            return np.ones(len(logits), bool)
        return self.kept(batch).numpy()

    def kept(self, batch: Batch) -> Tensor:
        """Which positions are no padding."""
        if isinstance(self.task, Subsamples):
            return self.task.heard(self.model, batch)
        return self.task.positions(batch, "")


def verify_pass(
    model: Any,
    task: Task,
    opened: OnePass,
    batches: Sequence[Batch],
    precision: Precision = FP32,
    replay: Replay | None = None,
) -> ExportReport:
    """Compares padded batches, their rows one by one without padding, and forced steps of models that take steps.

    Args:
        model: in evaluation mode, float32, on the CPU.
        task: that it is made for.
        opened: its export.
        batches: prompts of the task.
        precision: of the export.
        replay: does a pass, or forced steps, in a fresh process; steps are forced here if it is not given.

    Raises:
        CertificateError: where they differ by more than the precision explains (batch and input, or step).
    """
    reference, agreement, inputs = Reference(model, task), Agreement(precision), 0
    for number, batch in enumerate(batches, start=1):
        where = f"batch {number}"
        _add(agreement, reference, opened.logits, batch, where)
        for row, alone in enumerate(_alone(reference, batch), start=1):
            _add(agreement, reference, opened.logits, alone, f"{where}, input {row} alone")
            inputs += 1
    steps = 0
    if opened.graph.states:
        steps = _steps(agreement, reference, opened, batches[0], replay)
    elif replay is not None:
        _add(agreement, reference, lambda job: replay([job])[0], batches[0], "batch 1 in a fresh process")
    return replace(report_of(agreement.check()), inputs=inputs, steps=steps)


def _alone(reference: Reference, batch: Batch) -> Iterator[Batch]:
    """Each row of a batch by itself, without its padding where that is at the end."""
    kept = reference.kept(batch)
    for row in range(len(kept)):
        alone = {name: x[row : row + 1] for name, x in batch.items()}
        width, length = kept.shape[-1], int(kept[row].sum())
        if kept.ndim == 2 and length < width and bool(kept[row, :length].all()):
            alone = {name: x[:, :length] if x.shape[1:2] == (width,) else x for name, x in alone.items()}
        yield alone


def _add(agreement: Agreement, reference: Reference, run: Run, batch: Batch, where: str) -> None:
    expected = reference.logits(batch)
    got = run({name: x.numpy() for name, x in batch.items()})
    agreement.add(expected, got, reference.counts(batch, expected), lambda at: where)


def _steps(agreement: Agreement, reference: Reference, opened: OnePass, batch: Batch, replay: Replay | None) -> int:
    """Forced steps from an empty cache against whole texts: one text, two texts, and several tokens at a time."""
    longest = min(STEPS, opened.layout.limits.get(TOTAL, STEPS))
    name, mask = opened.graph.text
    ids = _texts(reference, batch, name, longest)
    expected = reference.logits({name: ids, mask: torch.ones_like(ids)})
    shapes = ((1, 1), (2, 1), (2, 7))
    jobs = [{FED: ids[:rows].numpy(), CHUNK: np.array(chunk)} for rows, chunk in shapes]
    done = [forced(opened, job) for job in jobs] if replay is None else replay(jobs)
    for (rows, chunk), got in zip(shapes, done, strict=True):
        want = expected[:rows]
        agreement.add(want, got, np.ones(want.shape[:2], bool), _step(rows, chunk))
    return longest


def _step(rows: int, chunk: int) -> Where:
    return lambda at: f"step {at[1] + 1} (batch of {rows}, {chunk} at a time)"


def _texts(reference: Reference, batch: Batch, name: str, length: int) -> Tensor:
    """Two texts of so many tokens, made of those of a batch."""
    tokens = batch[name][reference.kept(batch)]
    tokens = tokens.repeat(2 * length // len(tokens) + 1)
    return tokens[: 2 * length].view(2, length)
