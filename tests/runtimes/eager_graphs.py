"""The graphs of a model, opened as an export is, but run by PyTorch as they are."""

from collections.abc import Mapping
from typing import Any

import torch

from tprune.core.graph import Dialect
from tprune.core.known_tasks import task_of
from tprune.core.task import Batch
from tprune.families.graphs.graph import Graph, skeleton_of
from tprune.runtimes.layout import Layout
from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.runtime import Array
from tprune.support.manifest import Manifest


class Eager:
    """A session that calls the graphs as they are."""

    def __init__(self, graphs: tuple[Graph, ...]) -> None:
        self.graphs = {graph.name: graph for graph in graphs}

    @torch.no_grad()
    def run(self, graph: str, feeds: Mapping[str, Array], outputs: Any) -> list[Array]:
        found = self.graphs[graph]({name: torch.from_numpy(x) for name, x in feeds.items()})
        return [found[name].numpy() for name in outputs]


def opened(model: Any, dialect: Dialect = "onnx23") -> OnePass:
    """A model's graphs without an export."""
    skeleton, task = skeleton_of(model), task_of(model)
    graphs = skeleton.graphs(model, task, task.prompt(task.random(model)), dialect)
    signatures, limits = tuple(graph.signature for graph in graphs), skeleton.limits(model)
    layout = Layout(
        task=task.name,
        phases=skeleton.phases,
        graphs=signatures,
        limits=limits,
        parameters=1,
        macs=1,
        files=Manifest({}),
    )
    return OnePass(layout, Eager(graphs))


def prompt(model: Any) -> Batch:
    task = task_of(model)
    return task.prompt(task.random(model))
