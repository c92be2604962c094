"""`analysis.html`: one self-contained page about an analysis; its drawings are inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tprune.analysis.sites import WORDS, module_name
from tprune.core.kinds import Scope, rule_of
from tprune.core.sites import Site
from tprune.report.html import template
from tprune.report.labels import Box, width_of
from tprune.report.labels import place as place_label
from tprune.report.names import model_name
from tprune.report.scatter import BOTTOM, HIGH, RIGHT, TOP, WIDE, fitted, scale, spread, ticks

SMALL, LOW = 150, 70  # of one drawing of norms


def write_page(out: Path, found: Mapping[str, Any]) -> Path:
    """Writes the page of what `tprune analyze` found, given as its JSON; returns the path."""
    components, stage, made = found["components"], found["telling"], found["made"]
    lines = [c for c in components if _of_matrix(c)]
    page = template("analysis.html").render(
        title=model_name(made["model"]) + (f" on {made['data']}" if "data" in made else ""),
        made=made,
        advice=[advice_row(a) for a in found["advice"]],
        warnings=found["warnings"],
        path=found["path"],
        stage=stage,
        heat=heat_map(lines, stage),
        loss=loss_curve(found),
        alone=[norms(c, stage) for c in lines],
        together=[norms(c, stage) for c in components if not _of_matrix(c)],
        small=(SMALL, LOW),
    )
    out.write_text(page, encoding="utf-8", errors="backslashreplace")
    return out


def advice_row(advice: Mapping[str, Any]) -> tuple[str, ...]:
    """A line of advice as text."""
    what = ("leave", "") if advice["leave"] else (advice["cut"], advice["realisation"])
    return (
        advice["sublayer"],
        *what,
        f"{100 * advice['keep']:.0f} %",
        f"{advice['relative']:.2f}",
        advice["axis"],
        advice["why"],
    )


def heat_map(lines: Sequence[Mapping[str, Any]], stage: int) -> dict[str, Any]:
    """Layers by matrices: in each cell how many of its input and output lines vanished by a stage of the path."""
    columns = list(dict.fromkeys((_part(c), module_name(c["matrix"])) for c in sorted(lines, key=_order)))
    rows: dict[str, dict[tuple[str, str], list[dict[str, Any]]]] = {}
    for component in lines:
        zero = component["path"][stage]["zero"]
        cells = rows.setdefault(_row(component), {}).setdefault(
            (_part(component), module_name(component["matrix"])), []
        )
        cells.insert(
            0 if component["axis"] == "in" else len(cells),
            {
                "text": f"{100 * zero:.0f}",
                "strength": round(100 * zero),
                "title": f"{component['name']}: {zero:.1%} of {component['groups']} lines vanished",
            },
        )
    return {
        "columns": [" ".join(dict.fromkeys(column)) for column in columns],
        "rows": [
            {"name": name, "cells": [found.get(column, []) for column in columns]} for name, found in rows.items()
        ],
    }


def _of_matrix(component: Mapping[str, Any]) -> bool:
    return rule_of(component["kind"]).scope is Scope.MATRIX


def _row(component: Mapping[str, Any]) -> str:
    if component["site"] is None or (site := Site(*component["site"])).layer is None:
        return "in no layer"
    return f"{site.stack}\N{NO-BREAK SPACE}{site.layer}"


def _part(component: Mapping[str, Any]) -> str:
    """The block of a component in a word; its matrix where nobody says."""
    if component["site"] is None:
        return str(component["matrix"])
    block = Site(*component["site"]).block
    return WORDS.get(block, block)


def _order(component: Mapping[str, Any]) -> int:
    known, part = tuple(WORDS.values()), _part(component)
    return known.index(part) if part in known else len(known)


def loss_curve(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """The validation loss after each strength (log scale across), and the dense model's as the line it starts from."""
    points = [p for p in found["path"] if p["loss"] is not None and math.isfinite(p["loss"])]
    if not points or found["loss"] is None:
        return None
    up = fitted([found["loss"], *(p["loss"] for p in points)])
    marks = ticks(*up)
    left = 14 + max(width_of(f"{v:g}") for v in marks)
    x_of = scale(fitted([math.log(p["strength"]) for p in points]), left, WIDE - RIGHT)
    y_of = scale(up, HIGH - BOTTOM, TOP)
    at = [(x_of(math.log(p["strength"])), y_of(p["loss"])) for p in points]
    taken = [Box(x - 4, y - 4, x + 4, y + 4) for x, y in at]
    frame, base = Box(left + 2, TOP, WIDE - RIGHT, HIGH - BOTTOM - 2), y_of(found["loss"])
    labels = [place_label(f"{p['loss']:.2f}", x, y, frame, taken) for p, (x, y) in zip(points, at, strict=True)]
    dense = (
        place_label(f"dense {found['loss']:.2f}", x, base, frame, taken) for x in range(WIDE - 100, round(left), -40)
    )
    labels.append(next((label for label in dense if label and not label.line), None))  # anywhere along its line
    return {
        "wide": WIDE,
        "high": HIGH,
        "left": left,
        "right": WIDE - RIGHT,
        "bottom": HIGH - BOTTOM,
        "base": base,
        "dots": [
            {"x": x, "y": y, "title": f"strength {p['strength']:.3g}: loss {p['loss']:.3f}"}
            for p, (x, y) in zip(points, at, strict=True)
        ],
        "up": [{"at": y_of(v), "label": f"{v:g}"} for v in marks],
        "labels": [{"text": label.text, "x": label.x, "y": label.y} for label in labels if label and not label.line],
        "across": spread(
            [(x, f"{p['strength']:.3g}") for p, (x, _) in zip(points, at, strict=True)], HIGH - BOTTOM + 20
        ),
        "line": " ".join(f"{x},{y}" for x, y in at),
    }


def norms(component: Mapping[str, Any], stage: int) -> dict[str, Any]:
    """A component's sorted norms in the dense model and after each strength, as the points of polylines."""
    curves = [component["norms"], *(reading["norms"] for reading in component["path"])]
    top = max([*component["norms"], 1e-9])
    reading = component["path"][stage]
    return {
        "name": component["name"].removeprefix("model."),
        "zero": f"{reading['zero']:.0%}",
        "shrunk": f"{reading['shrunk']:.0%}",
        "curves": [
            {
                "points": _polyline(curve, top),
                "opacity": round(0.35 + 0.65 * i / max(1, len(curves) - 1), 2),
                "dense": i == 0,
            }
            for i, curve in enumerate(curves)
        ],
    }


def _polyline(values: Sequence[float], top: float) -> str:
    step = (SMALL - 4) / max(1, len(values) - 1)
    return " ".join(f"{2 + i * step:.1f},{LOW - 2 - (LOW - 6) * min(1.0, v / top):.1f}" for i, v in enumerate(values))
