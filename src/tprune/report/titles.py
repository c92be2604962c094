"""Titles of pages: which model, on which sentences, and what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tprune.report.names import model_name

UNITS = {"macs": "multiplications", "params": "parameters", "bytes": "bytes"}
MOST = 3  # models and data that a title of several runs names


def about(made_for: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """The model and the sentences of a run; the model alone where an older run does not say more.

    Example:
        >>> about({"names": {"model": "marian", "train": "a.en/a.de"}}, {})
        'marian on a.en/a.de'
        >>> about({"model": "models/marian"}, {})
        'marian'
    """
    if names := made_for.get("names"):
        return f"{names['model']} on {names['train']}"
    model = made_for.get("model")
    return model_name(model) if model else str(results.get("model", "a model trained in the run"))


def title(made_for: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """What `about` says, and the size or speed that was asked for.

    Example:
        >>> title({"model": "marian"}, {"target": {"asked": {}, "reached": {}, "speedup": 2.0}})
        'marian, 2x'
    """
    size = asked(results)
    return about(made_for, results) + (f", {size}" if size else "")


def asked(results: Mapping[str, Any]) -> str:
    """The size, time or speed that was asked for; nothing where a plan was given instead.

    Example:
        >>> asked({"target": {"asked": {}, "reached": {}, "macs": 0.5}})
        '0.5 of the multiplications'
    """
    found = [(unit, value) for unit, value in results["target"].items() if unit not in ("asked", "reached")]
    if not found:
        return ""
    unit, value = found[-1]
    if unit == "speedup":
        return f"{value:g}x"
    if unit == "latency_ms":
        return f"{value:g} ms a sentence"
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
