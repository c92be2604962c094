"""`analysis.html`: one self-contained page about an analysis; its drawings are inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tprune.analysis.places import Place, place

CELL, ROW, LEFT = 76, 26, 86  # pixels: a matrix of the heat map, one of its layers, the names of the layers
WIDE, HIGH = 620, 220  # of the drawing of the loss
SMALL, LOW = 150, 70  # of one drawing of norms


def write_page(out: Path, found: Mapping[str, Any]) -> Path:
    """Writes the page of what `tprune analyze` found, given as its JSON; returns the path."""
    environment = Environment(loader=PackageLoader("tprune", "report"), autoescape=True, undefined=StrictUndefined)
    components = found["components"]
    stage = found["telling"]
    page = environment.get_template("analysis.html").render(
        made=found["made"], advice=found["advice"], warnings=found["warnings"], dense=found["loss"], path=found["path"],
        stage=stage, heat=heat_map([c for c in components if c["kind"] == "lines"], stage), loss=loss_curve(found),
        together=[norms(c, stage) for c in components if c["kind"] != "lines"],
        alone=[norms(c, stage) for c in components if c["kind"] == "lines"], small=(SMALL, LOW),
    )  # fmt: skip
    out.write_text(page, encoding="utf-8")
    return out


def heat_map(lines: Sequence[Mapping[str, Any]], stage: int) -> dict[str, Any]:
    """Layer x matrix x axis: for each component a half cell with the fraction of lines that vanished by a stage of the path."""
    places = [place(c["name"]) for c in lines]
    rows = list(dict.fromkeys((p.sublayer.side, p.sublayer.layer) for p in places))
    columns = list(dict.fromkeys((p.sublayer.part, p.item) for p in sorted(places, key=_part)))
    cells = []
    for at, component in zip(places, lines, strict=True):
        column, row = (
            columns.index((at.sublayer.part, at.item)),
            rows.index((at.sublayer.side, at.sublayer.layer)),
        )
        zero = component["path"][stage]["zero"]
        cells.append({
            "x": LEFT + CELL * column + (CELL // 2 if at.axis == "out" else 0), "y": 40 + ROW * row, "value": zero,
            "text": f"{100 * zero:.0f}", "title": f"{component['name']}: {zero:.1%} of {component['groups']} lines vanished",
        })  # fmt: skip
    return {
        "width": LEFT + CELL * len(columns) + 2, "height": 42 + ROW * len(rows), "cell": CELL // 2 - 2, "row": ROW - 2, "cells": cells,
        "rows": [{"y": 40 + ROW * i + 16, "name": f"{side} {layer}"} for i, (side, layer) in enumerate(rows)],
        "columns": [{"x": LEFT + CELL * i, "part": part, "name": item} for i, (part, item) in enumerate(columns)],
    }  # fmt: skip


def _part(at: Place) -> int:
    order = ("self", "cross", "ffn")
    return order.index(at.sublayer.part) if at.sublayer.part in order else len(order)


def loss_curve(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """The validation loss after each strength (log scale across), and the dense model's as the line it starts from."""
    points = [p for p in found["path"] if p["loss"] is not None and math.isfinite(p["loss"])]
    if not points or found["loss"] is None:
        return None
    losses = [found["loss"], *(p["loss"] for p in points)]
    low, high = min(losses), max(max(losses), min(losses) + 1e-3)
    first, last = math.log(points[0]["strength"]), math.log(points[-1]["strength"])

    def height(loss: float) -> float:
        return float(HIGH - 40 - (HIGH - 70) * (loss - low) / (high - low))

    def at(point: Mapping[str, Any]) -> tuple[float, float]:
        across = (math.log(point["strength"]) - first) / (last - first) if last > first else 0.5
        return 60 + (WIDE - 120) * across, height(point["loss"])

    dots = [
        {"x": round(x, 1), "y": round(y, 1), "strength": f"{p['strength']:.3g}", "loss": f"{p['loss']:.2f}"}
        for p in points
        for x, y in [at(p)]
    ]
    return {"width": WIDE, "height": HIGH, "base": round(height(found["loss"]), 1), "bottom": HIGH - 40, "dense": f"{found['loss']:.2f}", "dots": dots,
            "line": " ".join(f"{d['x']},{d['y']}" for d in dots)}  # fmt: skip


def norms(component: Mapping[str, Any], stage: int) -> dict[str, Any]:
    """A component's sorted norms in the dense model and after each strength, as the points of polylines."""
    curves = [component["norms"], *(reading["norms"] for reading in component["path"])]
    top = max([*component["norms"], 1e-9])
    reading = component["path"][stage]
    return {
        "name": component["name"].removeprefix("model."), "zero": f"{reading['zero']:.0%}", "shrunk": f"{reading['shrunk']:.0%}",
        "curves": [
            {"points": _polyline(curve, top), "opacity": round(0.35 + 0.65 * i / max(1, len(curves) - 1), 2), "dense": i == 0}
            for i, curve in enumerate(curves)
        ],
    }  # fmt: skip


def _polyline(values: Sequence[float], top: float) -> str:
    step = (SMALL - 4) / max(1, len(values) - 1)
    return " ".join(f"{2 + i * step:.1f},{LOW - 2 - (LOW - 6) * min(1.0, v / top):.1f}" for i, v in enumerate(values))
