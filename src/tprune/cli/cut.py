"""`tprune cut`: a checkpoint cut file by file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tprune.budget.from_files import select_from_files
from tprune.budget.size import Budget
from tprune.core.plan import Plan
from tprune.realise.shards import Shards
from tprune.realise.streamed import cut_checkpoint
from tprune.support.errors import InputError


def cut_to(
    folder: Path, out: Path, plan: Path | None, asked: Mapping[str, float], kinds: Sequence[str]
) -> dict[str, object]:
    """Cuts a checkpoint; what became of it.

    Args:
        folder: the checkpoint.
        out: the smaller one.
        plan: file of a plan to follow; chosen by norms if not given.
        asked: a size, by its unit, where no plan is given.
        kinds: of couplings that may be cut then.

    Raises:
        InputError: no such checkpoint on this machine, or one that cannot be streamed; a plan for another model.
        UnreachableError: a size that cannot be reached.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such directory; expected a checkpoint on this machine, as files are read in place"
        )
    if out.resolve() == folder.resolve():
        raise InputError(f"{out}: is the checkpoint that is read; expected another folder")
    found = Plan.load(plan) if plan else select_from_files(folder, Budget(*next(iter(asked.items()))), kinds)
    cut_checkpoint(folder, out, found)
    files = Shards.of(out).names
    return {
        "out": str(out),
        "asked": dict(found.asked) if plan is None else {},
        "reached": dict(found.reached),
        "kept": _shares(found),
        "bytes_before": _bytes(folder),
        "bytes": _bytes(out),
        "files": len(files),
    }


def _shares(plan: Plan) -> dict[str, float]:
    """Of every kind, the share of groups that stays."""
    total: dict[str, list[int]] = {}
    for entry in plan.entries:
        whole = math.prod(entry.groups)
        counts = total.setdefault(entry.coupling.kind, [0, 0])
        counts[0] += whole if entry.kept is None else len(entry.kept)
        counts[1] += whole
    return {kind: stays / whole for kind, (stays, whole) in total.items()}


def _bytes(folder: Path) -> int:
    return sum((folder / file).stat().st_size for file in Shards.of(folder).names)
