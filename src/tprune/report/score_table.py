"""Scores of any task, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from tprune.core.score import Metric
from tprune.report.table import text_of


def scores_table(found: Mapping[str, Any]) -> str:
    """Scores of one or two models and of baselines, their difference, and how they were computed."""
    table = Table("", "metric", "value", "95 % interval", box=None, pad_edge=False)
    for name, scores in found["scores"].items():
        for score in scores:
            table.add_row(name, *_cells(score))
    for name, score in found["baselines"].items():
        table.add_row(f"baseline: {name}", *_cells(score))
    lines = [text_of(table)]
    if (gap := found["paired"]) is not None:
        metric = Metric(**gap["metric"])
        delta, low, high = (f"{gap[end]:+.{metric.digits}f}" for end in ("delta", "low", "high"))
        change = f"{metric.name} {delta}{metric.unit and ' ' + metric.unit} [{low}, {high}]"
        lines.append(f"{found['model']} against {found['against']}: {change}, p {gap['p_value']:.3f}")
    lines += [f"warning: {line}" for line in found["warnings"]]
    first = next(iter(found["scores"].values()))[0]
    return "\n".join([*lines, f"{first['count']:,} examples for {found['task']}; {first['signature']}"])


def _cells(score: Mapping[str, Any]) -> tuple[str, str, str]:
    metric = Metric(**score["metric"])
    interval = f"{score['low']:.{metric.digits}f} to {score['high']:.{metric.digits}f}"
    return metric.name, metric.shown(score["value"]), interval
