"""Whether an exported folder computes the logits that the PyTorch model computes, in one pass and step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tprune.core.graph import TOTAL
from tprune.core.task import Batch, Task
from tprune.runtimes.decoding import Floats
from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.report import ExportReport
from tprune.runtimes.verify import LOGIT_TOLERANCE
from tprune.support.errors import CertificateError

STEPS = 48  # forced, with a cache that begins empty


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
        return self.task.positions(batch, "")


def verify_pass(model: Any, task: Task, opened: OnePass, batches: Sequence[Batch]) -> ExportReport:
    """Compares padded batches, their rows one by one without padding, and forced steps of models that take steps.

    Args:
        model: in evaluation mode, float32, on the CPU.
        task: that it is made for.
        opened: its export.
        batches: prompts of the task.

    Raises:
        CertificateError: where they differ by more than rounding (batch and input, or step).
    """
    reference, worst, inputs = Reference(model, task), 0.0, 0
    for number, batch in enumerate(batches, start=1):
        where = f"batch {number}"
        worst = max(worst, _same(reference, opened, batch, where))
        for row, alone in enumerate(_alone(reference, batch), start=1):
            worst = max(worst, _same(reference, opened, alone, f"{where}, input {row} alone"))
            inputs += 1
    steps, apart = _steps(reference, opened, batches[0]) if opened.graph.states else (0, 0.0)
    return ExportReport(max(worst, apart), inputs=inputs, steps=steps)


def _alone(reference: Reference, batch: Batch) -> Iterator[Batch]:
    """Each row of a batch by itself, without its padding where that is at the end."""
    kept = reference.kept(batch)
    for row in range(len(kept)):
        alone = {name: x[row : row + 1] for name, x in batch.items()}
        width, length = kept.shape[-1], int(kept[row].sum())
        if kept.ndim == 2 and length < width and bool(kept[row, :length].all()):
            alone = {name: x[:, :length] if x.shape[1:2] == (width,) else x for name, x in alone.items()}
        yield alone


def _same(reference: Reference, opened: OnePass, batch: Batch, where: str) -> float:
    expected = reference.logits(batch)
    got = opened.logits({name: x.numpy() for name, x in batch.items()})
    return _compared(expected, got, reference.counts(batch, expected), where)


def _compared(expected: Floats, got: Floats, counts: NDArray[np.bool_], where: str) -> float:
    """The largest difference relative to the largest logit. Raises `CertificateError` where that is too large."""
    if expected.shape != got.shape:
        raise CertificateError(
            f"the exported graph is not the model: {where}: logits of shape {got.shape}, expected {expected.shape}"
        )
    worst = float(np.abs(got - expected)[counts].max() / np.abs(expected[counts]).max())
    if not worst <= LOGIT_TOLERANCE:  # also true for NaN
        raise CertificateError(
            f"the exported graph is not the model: {where}: logits differ by {worst:.2g} of the largest, expected at "
            f"most {LOGIT_TOLERANCE:g}"
        )
    return worst


def _steps(reference: Reference, opened: OnePass, batch: Batch) -> tuple[int, float]:
    """Forced steps from an empty cache against whole texts: one text, two texts, and several tokens at a time."""
    longest, worst = min(STEPS, opened.layout.limits.get(TOTAL, STEPS)), 0.0
    name, mask = opened.graph.text
    ids = _texts(reference, batch, name, longest)
    expected = reference.logits({name: ids, mask: torch.ones_like(ids)})
    for rows, chunk in ((1, 1), (2, 1), (2, 7)):
        steps = opened.start(rows)
        for start in range(0, longest, chunk):
            part = slice(start, start + chunk)
            got = steps.logits(ids[:rows, part].numpy())
            want = expected[:rows, part]
            where = f"step {start + 1} (batch of {rows}, {chunk} at a time)"
            worst = max(worst, _compared(want, got, np.ones(want.shape[:2], bool), where))
    return longest, worst


def _texts(reference: Reference, batch: Batch, name: str, length: int) -> Tensor:
    """Two texts of so many tokens, made of those of a batch."""
    tokens = batch[name][reference.kept(batch)]
    tokens = tokens.repeat(2 * length // len(tokens) + 1)
    return tokens[: 2 * length].view(2, length)
