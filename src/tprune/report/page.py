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
from tprune.core.known_tasks import TASKS
from tprune.core.plan import Plan
from tprune.core.task import Task
from tprune.report.citations import citations
from tprune.report.drawing import drawing
from tprune.report.html import template
from tprune.report.norms import curves
from tprune.report.precision_table import head, lines, remarks
from tprune.report.results import RunResults, finished, unlike
from tprune.report.scatter import Dot, scatter
from tprune.report.table import between, faster, gap, notes, quoted, rows
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
    results, said = finished(run), predictions(run)
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
        precisions=lines(results),
        precision_head=[(name, "n" if number else "") for number, name in enumerate(head(results))],
        remarks=remarks(results),
        targets=targets(results, read_json(_forecast(run))),
        quoted=quoted(results),
        gap=gap(results.difference),
        words=results.words,
        stacks=drawing(plan, read_json(run / "dense" / "config.json")),
        norms=curves(norms),
        heat=heat_map(Analysis.load(analysis)) if analysis.exists() else [],
        plot=quality_and_speed(results),
        times=where_time_goes(results),
        sentences=side_by_side(said),
        citations=citations(made_for["recipe"], plan, made_for.get("plan") is not None, known_task(results.task)),
    )
    out = run / "report.html"
    out.write_text(page, encoding="utf-8", errors="backslashreplace")
    return out


def known_task(name: str) -> Task | None:
    """A task by its name; None for one that is not installed here."""
    return TASKS.get(name)


def predictions(run: Path) -> dict[str, list[str]]:
    """What both models predicted for the test data, in words; of translations the source is the input."""
    file = run / "predictions.json"
    found: dict[str, list[str]] = read_json(file if file.exists() else run / "translations.json")
    return {("input" if name == "source" else name): each for name, each in found.items()}


def targets(results: RunResults, forecast: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Unit, asked, predicted before training, reached; sizes are exact, so that predicted and reached are one."""
    target, found = results.target, []
    for unit, value in target.asked.items():
        reached = target.reached[unit]
        if target.timed is not None:
            took = results.pruned.latency_ms[results.runtime].get(target.timed)
            measured = "" if took is None else number(took)
            found.append((f"milliseconds a {target.timed}", number(value), number(reached), measured))
        else:
            after = results.pruned.peak_memory / 1e6 if unit == "memory_mb" else reached
            found.append((UNITS.get(unit, unit), number(value), number(reached), number(after)))
    speed = results.faster
    asked = f"{target.speedup:g}x" if target.speedup else ""
    predicted = f"{forecast['speedup']:.2f}x" if forecast.get("speedup") else ""
    measured = f"{speed.median:.2f}x [{speed.low:.2f}, {speed.high:.2f}]"
    if target.timed in (None, results.phase):
        return [*found, (f"speedup of {quoted(results)}", asked, predicted, measured)]
    whole = (f"speedup of a {target.timed}", asked, predicted, "")
    return [*found, whole, (f"speedup of {quoted(results)}", "", "", measured)]


def _forecast(run: Path) -> Path:
    """The file of what was forecast, under its name in earlier versions where it has that."""
    earlier = run / "promise.json"
    return earlier if earlier.exists() and not (run / "forecast.json").exists() else run / "forecast.json"


def quality_and_speed(results: RunResults) -> dict[str, Any]:
    """Dense and pruned in a plot; the interval of the metric is that of the difference."""
    dense, change, speed = results.dense.scores[results.metric].value, results.difference, results.faster
    values = dense + change.low, dense + change.delta, dense + change.high
    return scatter(
        [
            Dot("dense", (1.0, 1.0, 1.0), (dense, dense, dense), hollow=True),
            Dot("pruned", (speed.low, speed.median, speed.high), values),
        ],
        results.metric,
    )


def where_time_goes(results: RunResults) -> list[dict[str, Any]]:
    """For each side the milliseconds of what is quoted, in parts.

    Of a sentence: encoder, decoder steps (one step times the tokens written), and the rest; of what is composed its
    parts; else the whole alone.
    """
    made_of = (results.bench.composed or {}).get(results.phase, {})
    times = {name: side.latency_ms[results.runtime] for name, side in results.sides.items()}
    longest = max(took[results.phase] for took in times.values())
    found = []
    for name, took in times.items():
        parts = {f"{n} x {part}" if n > 1 else part: n * took[part] for part, n in made_of.items()}
        parts = parts or _parts(took, results.sides[name].tokens_per_sentence, results.phase)
        shares = [{"name": part, "ms": ms, "share": round(100 * ms / longest, 2)} for part, ms in parts.items()]
        found.append({"side": name, "ms": took[results.phase], "parts": shares})
    return found


def _parts(took: Mapping[str, float], tokens: float, phase: str) -> dict[str, float]:
    whole = took[phase]
    if not {"encoder", "decoder_step"} <= took.keys():
        return {phase: whole}
    after_encoder = max(0.0, whole - took["encoder"])
    steps = min(took["decoder_step"] * tokens, after_encoder)
    rest = max(0.0, whole - took["encoder"] - steps)
    return {"encoder": took["encoder"], "decoder steps": steps, "the rest": rest}


def heat_map(analysis: Analysis) -> list[dict[str, Any]]:
    """Per matrix the share of its norm that BSSL took, by input and output lines."""
    by_matrix: dict[str, dict[str, float]] = {}
    for component in analysis.lines:
        by_matrix.setdefault(component.matrix.removeprefix("model."), {})[component.axis] = component.area
    top = max((abs(v) for axes in by_matrix.values() for v in axes.values()), default=1.0) or 1.0
    return [
        {
            "name": name,
            "cells": [
                {"axis": axis, "value": axes[axis], "strength": max(0, round(100 * axes[axis] / top))}
                for axis in ("in", "out")
            ],
        }
        for name, axes in by_matrix.items()
    ]


def side_by_side(said: Mapping[str, Sequence[str]], most: int = SHOWN) -> list[dict[str, Any]]:
    """Examples with both predictions, evenly spaced over the test set; words that only one of them has are marked."""
    total = len(said["input"])
    picked = range(0, total, max(1, total // most))
    found = []
    for i in list(picked)[:most]:
        dense, pruned = marked(said["dense"][i], said["pruned"][i])
        found.append({"input": said["input"][i], "reference": said["reference"][i], "dense": dense, "pruned": pruned})
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
