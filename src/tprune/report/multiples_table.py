"""The table of `tprune runtimes --tune-multiples`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from tprune.costs.multiples.probes import PROBES
from tprune.report.table import text_of


def multiples_text(found: Mapping[str, Any]) -> str:
    """How much longer other sizes take than multiples of 64, and the multiple that follows.

    Args:
        found: as `tprune.costs.multiples.tune.tune` gives it.
    """
    table = Table("sizes", "kinds", "multiple of", "time", "95 % interval", "chosen", box=None, pad_edge=False)
    for name, probe in found["probes"].items():
        kinds = ", ".join(PROBES[name].kinds)
        why = f"{probe['multiple']}" if probe["tuned"] else f"{probe['multiple']}, the default: inside the noise"
        for multiple, each in probe["excess"].items():
            row = (f"{each['median']:.3f}x", f"{each['low']:.3f} to {each['high']:.3f}", why)
            table.add_row(name, kinds, multiple, *row)
            name, kinds, why = "", "", ""
    how = f"{found['runtime']} {found['version']}, {found['precision']}, {found['threads']} thread(s)"
    kept = ", ".join(f"{kind} of {size}" for kind, size in found["multiples"].items()) or "none, the defaults stay"
    return f"{text_of(table)}\n{how}; multiples that prune and run use from now on: {kept}\n{found['file']}"
