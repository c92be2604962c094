"""The table of models that people bring, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.shared.prune_table import Words, runs_table

WORDS = Words(
    {
        "general": "all-MiniLM-L6-v2, sentences without labels",
        "banking77": "MiniLM-L6, Banking77",
        "sst2": "MiniLM-L6, SST-2",
    },
    {
        "1.5x": "1.5 times as fast, recovered",
        "1.5x, one shot": "1.5 times as fast, one shot",
        "2x": "twice as fast, recovered",
    },
    "benchmarks/families/results.json",
)


def families_table(data: Mapping[str, Any]) -> str:
    """A line for each model and budget; `data` is the content of `results.json`."""
    return runs_table(data, WORDS)
