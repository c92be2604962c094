"""The matrix of runtimes, precisions, builds and features: in short for a terminal, in full for the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from tprune.core.graph import BUILDS
from tprune.report.table import text_of
from tprune.runtimes.features import FEATURES, features_for
from tprune.runtimes.matrix import Cell, Line

MODELS: Mapping[str, str] = {
    "encoder-decoder": "Models that translate",
    "decoder-only": "Language models",
    "single-pass": "Models of one pass",
}


def as_data(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """The matrix as JSON has it."""
    return [
        {
            "runtime": line.runtime,
            "precision": line.precision,
            "build": line.build,
            "cells": {name: {"state": cell.state, "detail": cell.detail} for name, cell in line.cells.items()},
        }
        for line in lines
    ]


SHORT = """certified n/m: n of m features of such models (searches, batches, uneven heads, ...) were met by an export
that was run and compared with PyTorch, in the version that is installed; supported n/m: none is known of this version,
and n are not refused; exported: written here, run on another system; -: refused. The features are listed by --all, or
by --runtime NAME for one runtime."""


def overview_text(lines: Sequence[Mapping[str, Any]]) -> str:
    """A row for each runtime and precision with a column for each build: how many features are certified.

    Args:
        lines: as `as_data` gives them.
    """
    table = Table("runtime", "precision", *(MODELS[build] for build in BUILDS), box=None, pad_edge=False)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines:
        states = [cell["state"] for cell in line["cells"].values()]
        rows.setdefault((line["runtime"], line["precision"]), {})[line["build"]] = _in_short(states)
    for (runtime, precision), cells in rows.items():
        if set(cells.values()) != {"-"}:
            table.add_row(runtime, precision, *(cells[build] for build in BUILDS))
    return f"{text_of(table)}\n\n{SHORT}"


def _in_short(states: Sequence[str]) -> str:
    """The states of all features of a build in a few words.

    Example:
        >>> _in_short(["certified", "supported"]), _in_short(["supported", "refused"]), _in_short(["refused"])
        ('certified 1/2', 'supported 1/2', '-')
    """
    there = [state for state in states if state != "refused"]
    if not there:
        return "-"
    if "exported" in there:
        return "exported"
    certified = there.count("certified")
    return f"certified {certified}/{len(states)}" if certified else f"supported {len(there)}/{len(states)}"


def features_text(lines: Sequence[Mapping[str, Any]]) -> str:
    """A row for each runtime, precision and build that is not refused as a whole, with its features by state.

    Args:
        lines: as `as_data` gives them.
    """
    table = Table("models", "runtime", "precision", "features", box=None, pad_edge=False)
    for line in lines:
        if not _refused({name: cell["state"] for name, cell in line["cells"].items()}):
            table.add_row(line["build"], line["runtime"], line["precision"], "; ".join(_by_state(line["cells"])))
    return text_of(table)


def _by_state(cells: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """The features of a line, those with the same state and detail together."""
    words = {"supported": "supported, not certified here", "exported": "exported, not run here"}
    found: dict[tuple[str, str], list[str]] = {}
    for name, cell in cells.items():
        found.setdefault((cell["state"], cell["detail"]), []).append(name)
    for (state, detail), names in found.items():
        more = f" ({detail})" if detail else ""
        yield f"{words.get(state, state)}{more}: {'all' if len(names) == len(cells) else ', '.join(names)}"


def features_markdown(lines: Sequence[Line]) -> Iterator[str]:
    """A table for each build, a column for each feature, then what is refused as a whole."""
    for build in BUILDS:
        yield from ("", f"## {MODELS[build]}", "")
        yield from _table([line for line in lines if line.build == build], features_for(build))
    yield from ("", "## Refused", "", "| runtime | models | precision | reason |", "|---|---|---|---|")
    for line in lines:
        if _refused({name: cell.state for name, cell in line.cells.items()}):
            why = next(iter(line.cells.values())).detail
            yield f"| `{line.runtime}` | {line.build} | {line.precision} | {why} |"
    yield from ("", "## Features", "", "| feature | what an export with it has to meet |", "|---|---|")
    for name, feature in FEATURES.items():
        yield f"| {name} | {feature.summary} |"


def _table(lines: Sequence[Line], names: Sequence[str]) -> Iterator[str]:
    """The rows of one build: states in a word, details below, each once."""
    notes: dict[str, int] = {}
    yield f"| runtime | precision | {' | '.join(names)} |"
    yield "|---|---|" + "---|" * len(names)
    for line in lines:
        if not _refused({name: cell.state for name, cell in line.cells.items()}):
            cells = (_word(line.cells[name], notes) for name in names)
            yield f"| `{line.runtime}` | {line.precision} | {' | '.join(cells)} |"
    if notes:
        yield from ("", *(f"{number}. {note}" for note, number in notes.items()))


def _word(cell: Cell, notes: dict[str, int]) -> str:
    """The state of a cell, with the number of its detail, which joins the notes where it is new."""
    number = f" ({notes.setdefault(cell.detail, len(notes) + 1)})" if cell.detail else ""
    return f"{cell.state}{number}"


def _refused(states: Mapping[str, str]) -> bool:
    """Whether nothing of a line runs."""
    return all(state == "refused" for state in states.values())


def record_text(found: Mapping[str, Any]) -> str:
    """What was recorded: a row for each runtime, precision and build."""
    table = Table("models", "runtime", "precision", "exports", "certified features", box=None, pad_edge=False)
    for one in found["certified"]:
        named = f"{one['runtime']} {one['version']}"
        table.add_row(one["build"], named, one["precision"], str(one["exports"]), ", ".join(one["features"]))
    return f"{text_of(table)}\n{found['record']}"
