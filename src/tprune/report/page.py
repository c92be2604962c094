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
from tprune.report.scatter import Dot, scatter
from tprune.report.table import between, faster, notes, per_token, rows
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
        raise InputError(
            f"{run}: its results are not what a run writes ({type(error).__name__}: {error}); delete {run / 'results.json'} and give the "
            "run's command again, which measures nothing twice"
        ) from None


def finished(run: Path) -> dict[str, Any]:
    """The results of a run. Raises `InputError` where it is no run, or not finished."""
    found: dict[str, Any] = read_json(run / "results.json")
    if not isinstance(found, dict):
        raise TypeError(f"a {type(found).__name__}")
    return found


def write_report(run: Path) -> Path:
    """Writes the page of a finished run and returns its path. Raises `InputError` when a file of the run is damaged."""
    results, said = finished(run), read_json(run / "translations.json")
    plan, made_for = Plan.load(run / "cut" / "plan.json"), read_json(run / "run.json")
    norms = read_json(run / "norms.json") if (run / "norms.json").exists() else []
    page = template("page.html").render(
        title=title(made_for, results), names=made_for.get("names"), training=made_for.get("training"), results=results, runtime=next(iter(results["speedup"])), faster=faster, between=between, per_token=per_token, rows=rows(results), notes=notes(results),
        targets=targets(results, read_json(run / "promise.json")), stacks=drawing(plan, read_json(run / "dense" / "config.json")),
        norms=curves(norms), heat=heat_map(Analysis.load(run / "analysis.json")) if (run / "analysis.json").exists() else [],
        plot=quality_and_speed(results), times=where_time_goes(results), sentences=side_by_side(said),
        citations=citations(made_for["recipe"], made_for.get("plan") is not None),
    )  # fmt: skip
    out = run / "report.html"
    out.write_text(page, encoding="utf-8", errors="backslashreplace")
    return out


def targets(results: Mapping[str, Any], promise: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Unit, asked, predicted before training, reached; sizes are exact, so that predicted and reached are one."""
    asked, reached = results["target"]["asked"], results["target"]["reached"]
    found = []
    for unit, value in asked.items():
        if unit == "sentence_ms":
            took = results["pruned"]["latency_ms"][next(iter(results["speedup"]))]["sentence"]
            found.append(("milliseconds a sentence", number(value), number(reached[unit]), number(took)))
        else:
            after = results["pruned"]["peak_memory"] / 1e6 if unit == "memory_mb" else reached[unit]
            found.append((UNITS.get(unit, unit), number(value), number(reached[unit]), number(after)))
    runtime = next(iter(results["speedup"]))
    low, high = results["speedup_interval"][runtime]["sentence"]
    wanted = results["target"].get("speedup")
    found.append((
        "speedup of a sentence", f"{wanted:g}x" if wanted else "", f"{promise['speedup']:.2f}x" if promise.get("speedup") else "",
        f"{results['speedup'][runtime]['sentence']:.2f}x [{low:.2f}, {high:.2f}]",
    ))  # fmt: skip
    return found


def quality_and_speed(results: Mapping[str, Any]) -> dict[str, Any]:
    """Dense and pruned in a plot; the interval of BLEU is that of the difference."""
    runtime, gap = next(iter(results["speedup"])), results["bleu_difference"]
    dense, middle = results["dense"]["bleu"], results["speedup"][runtime]["sentence"]
    low, high = results["speedup_interval"][runtime]["sentence"]
    return scatter([
        Dot("dense", (1.0, 1.0, 1.0), (dense, dense, dense), hollow=True),
        Dot("pruned", (low, middle, high), (dense + gap["low"], dense + gap["delta"], dense + gap["high"])),
    ])  # fmt: skip


def where_time_goes(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each side the milliseconds of a sentence: encoder, decoder steps (one step times the tokens written), and the rest."""
    runtime = next(iter(results["speedup"]))
    longest = max(results[side]["latency_ms"][runtime]["sentence"] for side in ("dense", "pruned"))
    found = []
    for side in ("dense", "pruned"):
        took = results[side]["latency_ms"][runtime]
        steps = min(
            took["decoder_step"] * results[side]["tokens_per_sentence"], max(0.0, took["sentence"] - took["encoder"])
        )
        parts = {
            "encoder": took["encoder"],
            "decoder steps": steps,
            "the rest": max(0.0, took["sentence"] - took["encoder"] - steps),
        }
        shares = [{"name": name, "ms": ms, "share": round(100 * ms / longest, 2)} for name, ms in parts.items()]
        found.append({"side": side, "ms": took["sentence"], "parts": shares})
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
