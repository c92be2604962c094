"""The forecast: what a run will make of a model, said before it trains; a frozen record that prints as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from torch import nn

from tprune.budget.allocate import number
from tprune.core.kinds import WHOLE_BLOCK, rule_of
from tprune.core.plan import Plan
from tprune.core.sublayers import kept_counts, sublayers_of, width_of
from tprune.core.task import Task
from tprune.costs.latency.phases import Times
from tprune.costs.latency.table import LatencyTable
from tprune.costs.size import size_after
from tprune.counting.size import Size, size
from tprune.support.errors import InputError
from tprune.support.reporting import duration

COPIES = 3  # a checkpoint of a training holds the weights and the optimiser's two averages
CHECKPOINTS = 2  # that of a stage that is being replaced, and its successor


@dataclass(frozen=True)
class Forecast:
    """What a selected plan forecasts.

    Attributes:
        asked: by unit, as in the plan.
        reached: by unit, exact for sizes and predicted for times and memory.
        dense: size of the dense model.
        pruned: size of the pruned model.
        kept: by sublayer and kind, `(lines kept, of how many)`; a removed sublayer is 0 of 1 in `sublayer` alone.
        width: share of the residual width.
        dense_times: measured; None where nothing was timed.
        times: predicted.
        faster: than the model asked about the dense one is already, by a smaller vocabulary or a precision.
        seconds: estimated, of the stages to come; None where there is no estimate.
        where: what the stages run on.
        quoted: what the time that is asked for is of: a sentence, a pass, a text.
        disk: bytes that the run takes at its largest: two checkpoints, and dense, regularised, cut and recovered
            models.
    """

    asked: Mapping[str, float]
    reached: Mapping[str, float]
    dense: Size
    pruned: Size
    kept: Mapping[str, Mapping[str, tuple[int, int]]]
    width: float
    dense_times: Times | None
    times: Times | None
    seconds: float | None
    disk: int
    faster: float = 1.0
    where: str = ""
    quoted: str = ""

    @property
    def speedup(self) -> float | None:
        """The quoted time of the model asked about, over the predicted one."""
        return self.faster * self.dense_times.total / self.times.total if self.dense_times and self.times else None

    def as_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return {**asdict(self), "speedup": self.speedup}

    def __str__(self) -> str:
        kinds = [kind for kind in dict.fromkeys(k for row in self.kept.values() for k in row) if kind != WHOLE_BLOCK]
        rows = [("sublayer", *(f"{kind} a head" if rule_of(kind).balanced else kind for kind in kinds))]
        for name, row in self.kept.items():
            cells = [f"{row[k][0]} of {row[k][1]}" if k in row else "" for k in kinds]
            gone = row.get(WHOLE_BLOCK, (1, 1))[0] == 0
            rows.append((name, "removed", *[""] * (len(kinds) - 1)) if gone and kinds else (name, *cells))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, *self._totals()])

    def _totals(self) -> list[str]:
        found = [f"residual width: {self.width:.0%}"] if self.width < 1 else []
        for name, label in (("parameters", "parameters"), ("macs", "multiplications"), ("bytes", "bytes")):
            before, after = getattr(self.dense, name), getattr(self.pruned, name)
            found.append(f"{label}: {before:,} to {after:,} ({after / before:.0%})")
        if self.dense_times and self.times and self.speedup:
            for name in dict.fromkeys((*self.times.parts, self.quoted)):
                found.append(f"{name}: {self.dense_times.of(name):.3g} to {self.times.of(name):.3g} ms, predicted")
            words = f", {self.faster:.2f}x of it without pruning" if self.faster != 1 else ""
            found.append(f"{self.speedup:.2f}x faster, predicted{words}")
        found += [
            f"{unit}: asked {number(value)}, reached {number(self.reached[unit])}" for unit, value in self.asked.items()
        ]
        on = f" on {self.where}" if self.where else ""
        time = "" if self.seconds is None else f"about {duration(self.seconds)} in all{on}, "
        return [*found, f"{time}about {max(1, round(self.disk / 1e6)):,} MB of disk"]


def forecast(
    model: nn.Module,
    plan: Plan,
    table: LatencyTable | None = None,
    seconds: float | None = None,
    faster: float = 1.0,
    dense: Size | None = None,
    where: str = "",
    task: Task | None = None,
) -> Forecast:
    """What a selected plan forecasts, before anything is trained.

    Args:
        model: the dense model; with a smaller output vocabulary, the restricted one.
        plan: after selection.
        table: of this machine; without it nothing is said about times.
        seconds: of the stages to come, from whoever knows the machine.
        faster: see `Forecast`.
        dense: the size of the model asked about, where `model` has lost words already.
        where: what the stages run on, such as "these 2 cores".
        task: what the model is for; its own if not given.

    Raises:
        InputError: the plan is not selected, or cuts what has no price in the table.
    """
    if not plan.selected:
        raise InputError("a forecast needs a plan that says what it keeps; select first")
    counts, kept = kept_counts(plan), {}
    for s in sublayers_of(plan):
        row = {kind: (counts[s.name][kind], total) for kind, total in s.whole.items()}
        removed = row.get(WHOLE_BLOCK, (1, 1))[0] == 0
        kept[s.name] = {WHOLE_BLOCK: row[WHOLE_BLOCK]} if removed else row
    dense, pruned = dense or size(model, task), size_after(model, plan, task)
    disk = dense.bytes * (COPIES * CHECKPOINTS + 2) + pruned.bytes * 2
    dense_times, times = (table.dense, table.predict_plan(plan)) if table else (None, None)
    return Forecast(
        dict(plan.asked),
        dict(plan.reached),
        dense,
        pruned,
        kept,
        width_of(plan),
        dense_times,
        times,
        seconds,
        disk,
        faster,
        where,
        table.phases.quoted if table else "",
    )
