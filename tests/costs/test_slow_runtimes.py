"""A runtime that takes seconds to lower a graph: its latency table has fewer plans, and one comparison with PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from test_latency_timer import taking

from fake_bench import as_bench
from small_pairs import model_and_tokenizer
from tprune.core.precision import Precision
from tprune.costs.latency import timer as latency_timer
from tprune.costs.latency.cache import kept_table, measured
from tprune.costs.latency.table import TimingConfig
from tprune.families.graphs.graph import Graph
from tprune.runtimes.layout import Layout
from tprune.runtimes.products import Product
from tprune.runtimes.reference.engine import TorchReference, TorchSession
from tprune.runtimes.runtime import RUNTIMES, Slow


@dataclass(frozen=True)
class Counting(TorchReference):
    """Keeps the modules of graphs as they are; knows what was lowered, and what was opened to be compared."""

    lowered: list[str] = field(default_factory=list, compare=False)
    compared: set[str] = field(default_factory=set, compare=False)

    def write(self, graphs: Sequence[Graph], folder: Path, precision: Precision) -> Sequence[Product]:
        self.lowered.append(folder.name)
        for graph in graphs:
            torch.save(graph, folder / f"{graph.name}.pt")
        return ()

    def open(self, folder: Path, layout: Layout, threads: int) -> TorchSession:
        self.compared.add(folder.name)
        graphs = [torch.load(folder / f"{each.name}.pt", weights_only=False) for each in layout.graphs]
        return TorchSession({graph.name: (graph, graph.module) for graph in graphs})


@dataclass(frozen=True)
class Lowering(Counting):
    def seconds(self, precision: Precision) -> float:
        return 15.0


@pytest.mark.slow
@pytest.mark.parametrize(("made", "plans"), [(Lowering, 6), (Counting, 11)])
def test_a_table_of_a_slow_runtime_is_made_of_fewer_plans(
    made: type[Counting], plans: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = made("counting", False)
    assert isinstance(runtime, Slow) is (made is Lowering)
    monkeypatch.setattr(RUNTIMES, "entered", {"counting": runtime})
    monkeypatch.setattr("tprune.costs.latency.exports.default_threads", lambda: 1)
    monkeypatch.setattr(
        latency_timer, "bench_all", as_bench(lambda call: {name: taking(1.2, call.rounds) for name in call.others})
    )
    model, tokenizer = model_and_tokenizer()
    setting, said = TimingConfig(runtime="counting", rounds=4), list[str]()
    given: Any = (model, tokenizer, ("a cat sat",), setting, tmp_path, said.append, ("ffn",), False)
    table = measured(*given)
    assert len(table.plans) == plans and len(runtime.lowered) == plans + 1  # with the dense model
    assert runtime.compared and all("dense" in name for name in runtime.compared)
    slow = [line for line in said if "takes about 15 s to lower a graph: up to 3 minutes" in line]
    assert len(slow) == (made is Lowering)
    assert measured(*given) == table and len(runtime.lowered) == plans + 1  # all of it is kept
    assert kept_table(model, ("a cat sat",), setting, tmp_path, ("ffn",), False) == table
