"""What int8 adds to the loss of a model, matrix by matrix, and which matrices stay fp32 for a limit on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tprune.analysis.integers import rounded
from tprune.analysis.loss_curves import token_loss_on
from tprune.core.precision import INT8, Precision
from tprune.core.task import Batch, Task
from tprune.runtimes.roundable import Roundable, roundable
from tprune.support.errors import InputError
from tprune.support.reporting import Report, counted


@dataclass(frozen=True)
class Sensitivity:
    """What int8 adds to a model's loss, in nats per output.

    Attributes:
        exceptions: weights that stay fp32, those that add most.
        added: by all other matrices together, as measured.
        whole: by all matrices together.
        alone: by each product alone, the names of its weights joined by `+`; empty where none had to stay.
    """

    exceptions: tuple[str, ...]
    added: float
    whole: float
    alone: Mapping[str, float]

    @property
    def precision(self) -> Precision:
        """int8 with the exceptions."""
        return Precision(INT8.name, self.exceptions)

    def __str__(self) -> str:
        """In words.

        Example:
            >>> print(Sensitivity(("lm_head.weight",), 0.004, 0.02, {}))
            int8 adds 0.0200 nats; with 1 weight in fp32 0.0040: lm_head.weight
        """
        count = len(self.exceptions)
        some = ", ".join(self.exceptions[:4]) + (f" and {count - 4} more" if count > 4 else "")
        kept = f"; with {count} weight{'s' * (count != 1)} in fp32 {self.added:.4f}: {some}" if count else ""
        return f"int8 adds {self.whole:.4f} nats{kept}"


def sensitive(
    model: Any,
    batches: Sequence[Batch],
    limit: float,
    task: Task | None = None,
    keep: Iterable[str] = (),
    report: Report = lambda text: None,
) -> Sensitivity:
    """The fewest weights that have to stay fp32 so that int8 adds at most `limit` to the loss.

    If int8 as a whole adds more, each product is rounded alone, and those that add most are kept fp32, as many as it
    takes; how many is found by halving, and the loss of what is left is measured as a whole.

    Args:
        model: dense or pruned; as it was when this returns.
        batches: of its task, with labels.
        limit: nats per output, at least 0.
        task: what the model is for; its own if not given.
        keep: weights that stay fp32 whatever they add, as whole products.
        report: told how far it is.

    Raises:
        InputError: no batches, a negative limit, or a model without graphs.

    Example:
        `export(model, tokenizer, "small", precision=sensitive(model, batches, 0.01).precision)`
    """
    if not batches or not limit >= 0:
        raise InputError(f"{len(batches)} batches and a limit of {limit}; expected some, and at least 0 nats")
    held = frozenset(keep)
    every = [one for one in roundable(model, task) if not held & set(one.names)]
    fixed = tuple(name for one in roundable(model, task) if held & set(one.names) for name in one.names)
    loss = token_loss_on(batches, task)
    whole = loss(model)
    added = _added(model, loss, whole, task)
    most = added(every)
    if most <= limit:
        return Sensitivity(fixed, most, most, {})
    look = counted(lambda one: added([one]), len(every), report, "matrices rounded alone")
    alone = {one: look(one) for one in every}
    order = sorted(every, key=lambda one: -alone[one])
    few, found = _fewest(order, added, limit)
    names = tuple(name for one in order[:few] for name in one.names)
    return Sensitivity((*fixed, *names), found, most, {"+".join(one.names): x for one, x in alone.items()})


def int8_losses(
    model: Any, parts: Mapping[str, Sequence[Roundable]], loss: Callable[[Any], float], task: Task | None = None
) -> dict[str, float]:
    """What each part of a model adds to its loss when it alone computes in int8, never less than 0.

    Args:
        model: as it was when this returns.
        parts: by name, such as a sublayer's, its matrices.
        loss: of a model, in nats per output; deterministic.
        task: what the model is for; its own if not given.
    """
    added = _added(model, loss, loss(model), task)
    return {name: max(0.0, added(matrices)) for name, matrices in parts.items()}


def _added(
    model: Any, loss: Callable[[Any], float], whole: float, task: Task | None
) -> Callable[[Sequence[Roundable]], float]:
    def added(matrices: Sequence[Roundable]) -> float:
        with rounded(model, matrices, task):
            return loss(model) - whole

    return added


def _fewest(
    order: Sequence[Roundable], added: Callable[[Sequence[Roundable]], float], limit: float
) -> tuple[int, float]:
    """How many of the first of these have to stay, and what the others add."""
    low, high, found = 0, len(order), 0.0  # of all that stay nothing is added; of none too much
    while high - low > 1:
        middle = (low + high) // 2
        loss = added(order[middle:])
        low, high, found = (low, middle, loss) if loss <= limit else (middle, high, found)
    return high, found
