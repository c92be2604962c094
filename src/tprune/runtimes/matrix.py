"""What runs where, for `tprune runtimes` and the documentation."""

from __future__ import annotations

from typing import Any

from tprune.runtimes.runtime import runtimes
from tprune.support.machine import version_of

CHECKPOINT = {
    "name": "transformers",
    "package": "transformers",
    "install": "pip install torch transformers",
    "precisions": ["fp32", "bf16", "fp16"],
    "needs": "",
    "timed": False,
}


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
            "precisions": list(one.precisions),
            "needs": f"tprune export --runtime {one.name}",
            "timed": True,
        }
        for one in runtimes()
    ]
    return [{**row, "version": version_of(str(row["package"]))} for row in (*rows, CHECKPOINT)]
