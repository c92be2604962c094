"""Titles of pages: which model, on which sentences, and what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tprune.report.names import model_name
from tprune.report.results import Outcome, RunResults

UNITS = {"macs": "multiplications", "params": "parameters", "bytes": "bytes"}
MOST = 3  # models and data that a title of several runs names


def about(made_for: Mapping[str, Any], model: str | None) -> str:
    """The model and the sentences of a run; the model alone where an older run does not say more.

    Args:
        made_for: the run's `run.json`.
        model: as its results name it.

    Example:
        >>> about({"names": {"model": "marian", "train": "a.en/a.de"}}, None)
        'marian on a.en/a.de'
        >>> about({"model": "models/marian"}, None)
        'marian'
    """
    if names := made_for.get("names"):
        return f"{names['model']} on {names['train']}"
    given = made_for.get("model")
    return model_name(given) if given else model or "a model trained in the run"


def title(made_for: Mapping[str, Any], results: RunResults) -> str:
    """What `about` says, and the size or speed that was asked for."""
    size = asked(results.target)
    return about(made_for, results.model) + (f", {size}" if size else "")


def asked(target: Outcome) -> str:
    """The size, time or speed that was asked for; nothing where a plan was given instead.

    Example:
        >>> asked(Outcome({}, {}, "macs", 0.5)), asked(Outcome({}, {}, "speedup", 2.0))
        ('0.5 of the multiplications', '2x')
    """
    unit, value = target.unit, target.value
    if unit is None or value is None:
        return ""
    if unit == "speedup":
        return f"{value:g}x"
    if unit == "latency_ms":
        return f"{value:g} ms"
    if unit == "memory_mb":
        return f"{value:g} MB"
    name = UNITS.get(unit, unit)
    return f"{value:g} of the {name}" if value < 1 else f"{value:,.0f} {name}"


def title_of_all(abouts: Sequence[str]) -> str:
    """What several runs are about, each model and data once, at most `MOST` of them.

    Example:
        >>> title_of_all(["a on x", "a on x", "b on x"])
        'a on x; b on x'
    """
    different = list(dict.fromkeys(abouts))
    more = len(different) - MOST
    return "; ".join(different[:MOST]) + (f"; and {more} more" if more > 0 else "")
