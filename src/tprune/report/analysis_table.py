"""An analysis as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from tprune.core.kinds import Scope, rule_of
from tprune.report.table import text_of


def analysis_table(found: Mapping[str, Any]) -> str:
    """The path with its losses, then the advice, one line a sublayer."""
    path = Table("strength", "step", "loss", "vanished", box=None, pad_edge=False)
    if found["loss"] is not None:
        path.add_row("dense", "0", f"{found['loss']:.3f}", "0 %")
    of_matrices = [c for c in found["components"] if rule_of(c["kind"]).scope is Scope.MATRIX]
    for i, point in enumerate(found["path"]):
        gone = sum(c["path"][i]["zero"] * c["groups"] for c in of_matrices)
        lines = sum(c["groups"] for c in of_matrices)
        loss = "" if point["loss"] is None else f"{point['loss']:.3f}"
        path.add_row(f"{point['strength']:.3g}", str(point["step"]), loss, f"{gone / max(1, lines):.0%}")
    advice = Table(
        "sublayer", "cut", "as", "keep", "relative", "axis", "in", "out", "together", "why", box=None, pad_edge=False
    )
    for a in found["advice"]:
        gone = [f"{a['zero'].get(key, 0):.0%}" for key in ("in", "out", "together")]
        what = ("leave", "") if a["leave"] else (a["cut"], a["realisation"])
        advice.add_row(a["sublayer"], *what, f"{a['keep']:.0%}", f"{a['relative']:.2f}", a["axis"], *gone, a["why"])
    notes = [
        "keep: share of a sublayer's weights to keep when the model keeps half of them; in, out, together: "
        "lines and groups that vanished",
        *(f"warning: {line}" for line in found["warnings"]),
    ]
    return "\n".join([text_of(path, advice, width=250), *notes])
