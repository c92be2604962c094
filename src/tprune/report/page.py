"""`report.html`: one self-contained page about a run, drawn from the files in its directory."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from tprune.analysis import Analysis
from tprune.errors import InputError
from tprune.files import read_json
from tprune.plan import Plan
from tprune.report.table import faster, notes, per_token, rows

SHOWN = 20


def finished(run: Path) -> dict[str, Any]:
    """The results of a run. Raises `InputError` where it is no run, or not finished."""
    if not (run / "run.json").is_file():
        raise InputError(f"{run}: no run; expected a directory that `tprune run`, `prune` or `demo` wrote")
    if not (run / "results.json").is_file():
        done = sorted((path for path in run.glob("stages/*.json")), key=lambda path: path.stat().st_mtime)
        last = f"its last finished stage is {done[-1].stem}" if done else "no stage of it is finished"
        raise InputError(f"{run}: this run has no results yet; {last}")
    found: dict[str, Any] = read_json(run / "results.json")
    return found


def write_report(run: Path) -> Path:
    """Writes the page of a finished run and returns its path. Raises `InputError` when a file of the run is damaged."""
    results, said = finished(run), read_json(run / "translations.json")
    plan = Plan.load(run / "cut" / "plan.json")
    page = template("page.html").render(
        results=results, faster=faster, per_token=per_token, rows=rows(results), notes=notes(results), bars=kept_bars(plan),
        heat=heat_map(Analysis.load(run / "analysis.json")) if (run / "analysis.json").exists() else [], sentences=side_by_side(said), command=results["command"],
        versions=results["versions"], machine=results["machine"], commit=results["commit"],
    )  # fmt: skip
    out = run / "report.html"
    out.write_text(page, encoding="utf-8")
    return out


def template(name: str) -> Template:
    """A page's template; text that goes into it is escaped, and what it lacks is an error."""
    return Environment(
        loader=PackageLoader("tprune", "report"), autoescape=True, undefined=StrictUndefined
    ).get_template(name)


def kept_bars(plan: Plan) -> list[dict[str, Any]]:
    """For each coupling: its name, how many groups it had and how many it has kept; dimensions of removed heads are gone too."""
    heads = {e.coupling.name.rpartition(".")[0]: e.keep for e in plan.entries if e.coupling.kind == "heads"}
    bars = []
    for entry in plan.entries:
        keep, sublayer = entry.keep, entry.coupling.name.rpartition(".")[0]
        if entry.coupling.kind in ("qk", "vo") and sublayer in heads:
            keep = keep & heads[sublayer][:, None]
        name, kept = entry.coupling.name.removeprefix("model."), int(keep.sum())
        share = round(100 * kept / keep.numel(), 1)
        bars.append({"name": name, "total": keep.numel(), "kept": kept, "share": share})
    return bars


def heat_map(analysis: Analysis) -> list[dict[str, Any]]:
    """Per matrix the share of its norm that BSSL took, by input and output lines."""
    by_matrix: dict[str, dict[str, float]] = {}
    for component in analysis.of_kind("lines"):
        matrix, _, axis = component.name.rpartition(".")
        by_matrix.setdefault(matrix.removeprefix("model."), {})[axis] = component.area
    top = max((abs(v) for axes in by_matrix.values() for v in axes.values()), default=1.0) or 1.0
    return [
        {"name": name, "cells": [{"axis": axis, "value": axes[axis], "strength": max(0, round(100 * axes[axis] / top))} for axis in ("in", "out")]}
        for name, axes in by_matrix.items()
    ]  # fmt: skip


def side_by_side(said: Mapping[str, Sequence[str]], most: int = SHOWN) -> list[dict[str, Any]]:
    """Sentences with both translations, evenly spaced over the test set; words that only one of them has are marked."""
    total = len(said["source"])
    picked = range(0, total, max(1, total // most))
    found = []
    for i in list(picked)[:most]:
        dense, pruned = marked(said["dense"][i], said["pruned"][i])
        found.append({"source": said["source"][i], "reference": said["reference"][i], "dense": dense, "pruned": pruned})
    return found


def marked(one: str, other: str) -> tuple[Markup, Markup]:
    """Both sentences with the words marked in which they differ; the text itself is escaped."""
    a, b = re.split(r"(\s+)", one), re.split(r"(\s+)", other)
    left: list[Markup] = []
    right: list[Markup] = []
    for tag, i, j, k, n in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        for words, side in ((a[i:j], left), (b[k:n], right)):
            text = escape("".join(words))
            side.append(text if tag == "equal" or not text.strip() else Markup("<mark>{}</mark>").format(text))
    return Markup("").join(left), Markup("").join(right)
