"""The table of models of other tasks, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.shared.prune_table import Words, runs_table

WORDS = Words(
    {
        "bert": "BERT, 128 wide, 4 layers, SST-2",
        "llama": "stories260K (Llama, grouped queries), its own sequences",
        "resnet": "ResNet-20, CIFAR-10 as JPEG",
    },
    {
        "half": "half of the multiplications, one shot",
        "half, recovered": "half of the multiplications, recovered",
        "speed": "1.5 times as fast, recovered",
    },
    "benchmarks/other_tasks/results.json",
)


def other_tasks_table(data: Mapping[str, Any]) -> str:
    """A line for each model and budget; `data` is the content of `results.json`."""
    return runs_table(data, WORDS)
