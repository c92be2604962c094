"""Graphs to ONNX files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tprune.families.graphs.attention import OPSET
from tprune.families.graphs.graph import Graph


def lower(graph: Graph, path: Path) -> None:
    """Writes a graph as an ONNX file."""
    inputs, outputs = [spec.name for spec in graph.signature.inputs], list(graph.signature.outputs)
    with _quiet():
        made = torch.onnx.export(
            graph.module,
            graph.example,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=graph.dynamic_shapes,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
        )
        assert made is not None
        _forget_sources(made.model)
        made.save(path, external_data=False)


def _forget_sources(model: Any) -> None:
    """Drops from every node and value which line of which file of this machine it comes from."""
    model.metadata_props.clear()
    for graph in (model.graph, *model.functions.values()):
        graph.metadata_props.clear()
        for value in (*graph.inputs, *graph.initializers.values()):
            value.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()


@contextmanager
def _quiet() -> Iterator[None]:
    """Drops the exporter's chatter (deprecations, "torchvision is not installed"); errors are raised as ever."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
