"""`report.html`: one self-contained page about a run, drawn from the files in its directory."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError
from markupsafe import Markup, escape

from tprune.analysis import Analysis
from tprune.budget.allocate import number
from tprune.core.plan import Plan
from tprune.report.citations import citations
from tprune.report.drawing import drawing
from tprune.report.html import template
from tprune.report.norms import curves
from tprune.report.results import SENTENCE, RunResults, finished, unlike
from tprune.report.scatter import Dot, scatter
from tprune.report.table import between, faster, notes, rows
from tprune.report.titles import title
from tprune.support.errors import InputError
from tprune.support.files import read_json

SHOWN = 20
UNITS = {"macs": "multiplications", "params": "parameters", "memory_mb": "peak memory, MB"}


@contextmanager
def reading(run: Path) -> Iterator[None]:
    """Says that a run's files are damaged, where something in them is not what a run writes."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration, UndefinedError) as error:
        raise unlike(run, f"{type(error).__name__}: {error}") from None


def write_report(run: Path) -> Path:
    """Writes the page of a finished run and returns its path. Raises `InputError` when a file of the run is damaged."""
    results, said = finished(run), read_json(run / "translations.json")
    plan, made_for = Plan.load(run / "cut" / "plan.json"), read_json(run / "run.json")
    if not isinstance(made_for, dict):
        raise InputError(f"{run / 'run.json'}: holds a {type(made_for).__name__}; expected what a run was made for")
    norms = read_json(run / "norms.json") if (run / "norms.json").exists() else []
    analysis = run / "analysis.json"
    page = template("page.html").render(
        title=title(made_for, results),
        names=made_for.get("names"),
        training=made_for.get("training"),
        results=results,
        faster=faster,
        between=between,
        rows=rows(results),
        notes=notes(results),
        targets=targets(results, read_json(run / "forecast.json")),
        stacks=drawing(plan, read_json(run / "dense" / "config.json")),
        norms=curves(norms),
        heat=heat_map(Analysis.load(analysis)) if analysis.exists() else [],
        plot=quality_and_speed(results),
        times=where_time_goes(results),
        sentences=side_by_side(said),
        citations=citations(made_for["recipe"], plan, made_for.get("plan") is not None),
    )
    out = run / "report.html"
    out.write_text(page, encoding="utf-8", errors="backslashreplace")
    return out


def targets(results: RunResults, forecast: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Unit, asked, predicted before training, reached; sizes are exact, so that predicted and reached are one."""
    target, found = results.target, []
    for unit, value in target.asked.items():
        reached = target.reached[unit]
        if unit == "sentence_ms":
            took = results.pruned.latency_ms[results.runtime][SENTENCE]
            found.append(("milliseconds a sentence", number(value), number(reached), number(took)))
        else:
            after = results.pruned.peak_memory / 1e6 if unit == "memory_mb" else reached
            found.append((UNITS.get(unit, unit), number(value), number(reached), number(after)))
    speed = results.sentence
    asked = f"{target.speedup:g}x" if target.speedup else ""
    predicted = f"{forecast['speedup']:.2f}x" if forecast.get("speedup") else ""
    measured = f"{speed.median:.2f}x [{speed.low:.2f}, {speed.high:.2f}]"
    return [*found, ("speedup of a sentence", asked, predicted, measured)]


def quality_and_speed(results: RunResults) -> dict[str, Any]:
    """Dense and pruned in a plot; the interval of BLEU is that of the difference."""
    dense, gap, speed = results.dense.bleu, results.bleu_difference, results.sentence
    bleu = dense + gap.low, dense + gap.delta, dense + gap.high
    return scatter(
        [
            Dot("dense", (1.0, 1.0, 1.0), (dense, dense, dense), hollow=True),
            Dot("pruned", (speed.low, speed.median, speed.high), bleu),
        ]
    )


def where_time_goes(results: RunResults) -> list[dict[str, Any]]:
    """For each side the milliseconds of a sentence: encoder, decoder steps (one step times the tokens written), and the rest."""
    times = {name: side.latency_ms[results.runtime] for name, side in results.sides.items()}
    longest = max(took[SENTENCE] for took in times.values())
    found = []
    for name, took in times.items():
        after_encoder = max(0.0, took[SENTENCE] - took["encoder"])
        steps = min(took["decoder_step"] * results.sides[name].tokens_per_sentence, after_encoder)
        parts = {
            "encoder": took["encoder"],
            "decoder steps": steps,
            "the rest": max(0.0, took[SENTENCE] - took["encoder"] - steps),
        }
        shares = [{"name": part, "ms": ms, "share": round(100 * ms / longest, 2)} for part, ms in parts.items()]
        found.append({"side": name, "ms": took[SENTENCE], "parts": shares})
    return found


def heat_map(analysis: Analysis) -> list[dict[str, Any]]:
    """Per matrix the share of its norm that BSSL took, by input and output lines."""
    by_matrix: dict[str, dict[str, float]] = {}
    for component in analysis.lines:
        by_matrix.setdefault(component.matrix.removeprefix("model."), {})[component.axis] = component.area
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
