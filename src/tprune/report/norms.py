"""Sorted norms of every coupling's groups, dense and pruned, for a page."""

from __future__ import annotations

from typing import Any

import torch

from tprune.core.coupling import bind
from tprune.core.kinds import PARTS
from tprune.families.registry import couplings

POINTS = 48
WIDE, HIGH = 150, 64


@torch.no_grad()
def sorted_norms(dense: Any, pruned: Any) -> list[dict[str, Any]]:
    """The sorted group norms of every coupling, dense and pruned, as shares of the largest.

    Each is read at up to `POINTS` evenly spaced ranks. `kept` is how many groups are left, over how many there were.
    """
    after = {g.coupling.name: _sorted(g.norms) for g in bind(_known(pruned), pruned)}
    found = []
    for groups in bind(_known(dense), dense):
        before = _sorted(groups.norms)
        left = after.get(groups.coupling.name, before[:0])
        top = max(float(before[0]), float(left[0]) if len(left) else 0.0) or 1.0
        found.append(
            {
                "name": groups.coupling.name,
                "kind": groups.coupling.kind,
                "kept": len(left) / len(before),
                "before": _read(before / top),
                "after": _read(left / top),
            }
        )
    return found


def curves(norms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same as polylines in a frame of `WIDE` by `HIGH`: rank across, where the dense model's ranks fill it."""
    return [
        {
            "name": each["name"].removeprefix("model."),
            "before": _line(each["before"], 1.0),
            "after": _line(each["after"], each["kept"]),
            "kept": each["kept"],
        }
        for each in norms
    ]


def _known(model: Any) -> tuple[Any, ...]:
    return tuple(c for c in couplings(model) if c.kind in PARTS)


def _sorted(norms: torch.Tensor) -> torch.Tensor:
    return norms.detach().flatten().double().sort(descending=True).values


def _read(values: torch.Tensor) -> list[float]:
    if not len(values):
        return []
    picked = torch.linspace(0, len(values) - 1, min(POINTS, len(values))).round().long()
    return [round(float(v), 4) for v in values[picked]]


def _line(values: list[float], share: float) -> str:
    if not values:
        return ""
    step = (WIDE - 4) * share / max(1, len(values) - 1)
    return " ".join(f"{2 + i * step:.1f},{HIGH - 2 - (HIGH - 6) * v:.1f}" for i, v in enumerate(values))
