"""Fakes of `bench_all` that keep its signature."""

import inspect
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from tprune.bench.harness import bench_all

SIGNATURE = inspect.signature(bench_all)


def as_bench(answer: Callable[[Any], Mapping[str, Any]]) -> Callable[..., Mapping[str, Any]]:
    """A function called as `bench_all` is; `answer` gets what it was called with, as attributes."""

    def bench(*arguments: Any, **named: Any) -> Mapping[str, Any]:
        bound = SIGNATURE.bind(*arguments, **named)
        bound.apply_defaults()
        return answer(SimpleNamespace(**bound.arguments))

    return bench
