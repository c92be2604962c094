"""What runs where, for `tprune runtimes` and the documentation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tprune.core.graph import BUILDS
from tprune.core.precision import NUMBERS, Precision
from tprune.runtimes.runtime import Runtime, runtimes
from tprune.support.machine import version_of

CHECKPOINT = {
    "name": "transformers",
    "package": "transformers",
    "install": "pip install torch transformers",
    "precisions": ["fp32", "bf16", "fp16"],
    "builds": {},
    "needs": "",
    "timed": False,
}


def precisions_of(runtime: Runtime, builds: Iterable[str] = BUILDS) -> list[str]:
    """The precisions in which a runtime runs models of at least one of these builds."""
    known = tuple(builds)
    return [name for name in NUMBERS if any(runtime.supports(Precision(name), build) is None for build in known)]


def matrix() -> list[dict[str, Any]]:
    """A line for each runtime that models are exported for, and one for transformers.

    Transformers runs checkpoints as they are.

    With the version that is installed here, None where there is none; `needs` says what makes a folder for it, `timed`
    whether it can be timed and given a budget of milliseconds.
    """
    rows = [
        {
            "name": one.name,
            "package": one.package,
            "install": one.install,
            "precisions": precisions_of(one),
            "builds": {build: precisions_of(one, (build,)) for build in BUILDS},
            "needs": f"tprune export --runtime {one.name}",
            "timed": True,
        }
        for one in runtimes()
    ]
    return [{**row, "version": version_of(str(row["package"]))} for row in (*rows, CHECKPOINT)]
