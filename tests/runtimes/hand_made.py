"""Exported folders that are written by hand in a moment: small graphs of all three builds, and no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tprune.core.caches import LayerCache, translation_signatures
from tprune.core.graph import Signature, TensorSpec
from tprune.core.precision import FP32
from tprune.runtimes.certificate import ExportCertificate
from tprune.runtimes.layout import Layout
from tprune.runtimes.parity import LIMITS
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.support.manifest import Manifest
from tprune_runtime.generation import Generation

WIDTH, POSITIONS = 8, 64
Node = tuple[str, Sequence[str], str, Mapping[str, Any]]
TYPES = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}


def write_graph(
    folder: Path, signature: Signature, nodes: Sequence[Node], constants: Mapping[str, Any], ranks: Mapping[str, int]
) -> None:
    """An ONNX file of opset 21."""
    inputs = [helper.make_tensor_value_info(x.name, TYPES[x.dtype], list(x.dims)) for x in signature.inputs]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"{name}_{i}" for i in range(ranks.get(name, 4))])
        for name in signature.outputs
    ]
    made = [helper.make_node(kind, list(given), [to], **more) for kind, given, to, more in nodes]
    weights = [numpy_helper.from_array(np.asarray(x), name) for name, x in constants.items()]
    graph = helper.make_graph(made, signature.name, inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, folder / f"{signature.name}.onnx")


def weights_of(vocabulary: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    axes = {f"axis{i}": np.array([i], np.int64) for i in (1, 2)}
    tables = {"embed": (vocabulary, WIDTH), "out": (WIDTH, vocabulary)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in tables.items()} | axes


def finish(folder: Path, layout: Layout) -> Path:
    layout.write(folder)
    ExportCertificate("onnxruntime", "1.0", {}, FP32, LIMITS["fp32"], {}, 48, True).write(folder)
    return folder


def translation(folder: Path, vocabulary: int, rows: tuple[int, ...] = (), **settings: Any) -> Path:
    """Adds up what was read and what was written so far; the folder has its tokeniser already."""
    cache = (LayerCache(0, 1, WIDTH, WIDTH),)
    encoder, decoder = translation_signatures(cache, cache)
    write_graph(
        folder,
        encoder,
        [
            ("Cast", ["attention_mask"], "mask", {"to": TensorProto.FLOAT}),
            ("Unsqueeze", ["mask", "axis2"], "column", {}),
            ("Gather", ["embed", "input_ids"], "tokens", {}),
            ("Mul", ["tokens", "column"], "read", {}),
            ("Unsqueeze", ["read", "axis1"], "cross_key_0", {}),
            ("Neg", ["cross_key_0"], "cross_value_0", {}),
        ],
        weights_of(vocabulary),
        {},
    )
    write_graph(
        folder,
        decoder,
        [
            ("Gather", ["embed", "input_ids"], "token", {}),
            ("Unsqueeze", ["token", "axis1"], "key", {}),
            ("Concat", ["past_key_0", "key"], "present_key_0", {"axis": 2}),
            ("Concat", ["past_value_0", "key"], "present_value_0", {"axis": 2}),
            ("ReduceMean", ["present_key_0", "axis2"], "said", {"keepdims": 0}),
            ("ReduceSum", ["cross_key_0", "axis2"], "read", {"keepdims": 0}),
            ("Cast", ["position"], "at", {"to": TensorProto.FLOAT}),
            ("Sin", ["at"], "wave", {}),
            ("Add", ["said", "wave"], "moved", {}),
            ("Add", ["moved", "token"], "both", {}),
            ("Add", ["both", "read"], "all", {}),
            ("Tanh", ["all"], "hidden", {}),
            ("MatMul", ["hidden", "out"], "states", {}),
            ("Squeeze", ["states", "axis1"], "logits", {}),
        ],
        weights_of(len(rows) or vocabulary),
        {"logits": 2},
    )
    defaults = {"bad_words_ids": ((0,),), "max_length": 20, "no_repeat_ngram_size": 2, "min_length": 4}
    generation = Generation(0, (1,), 0, **(defaults | settings))
    layout = TranslationLayout(
        task="translation",
        phases=("encoder", "decoder_step", "sentence"),
        graphs=(encoder, decoder),
        limits={"source": POSITIONS, "past": POSITIONS},
        parameters=1,
        macs=1,
        files=Manifest.of(folder),
        generation=generation,
        vocabulary=vocabulary,
        source_positions=POSITIONS,
        rows=rows,
    )
    return finish(folder, layout)


def language_model(folder: Path, vocabulary: int = 30) -> Path:
    """Means over what was read so far."""
    inputs = (
        TensorSpec("input_ids", "int64", ("batch", "tokens")),
        TensorSpec("attention_mask", "int64", ("batch", "total"), 1),
        TensorSpec("past_key_0", "float32", ("batch", 1, "past", WIDTH)),
    )
    signature = Signature("decoder", inputs, ("logits", "present_key_0"), (("past_key_0", "present_key_0"),))
    nodes: list[Node] = [
        ("Gather", ["embed", "input_ids"], "tokens", {}),
        ("Unsqueeze", ["tokens", "axis1"], "key", {}),
        ("Concat", ["past_key_0", "key"], "present_key_0", {"axis": 2}),
        ("CumSum", ["present_key_0", "two"], "sums", {}),
        ("Shape", ["past_key_0"], "past", {"start": 2, "end": 3}),
        ("Slice", ["sums", "past", "end", "axis2"], "new", {}),
        ("Squeeze", ["new", "axis1"], "said", {}),
        ("Sin", ["said"], "hidden", {}),
        ("MatMul", ["hidden", "out"], "logits", {}),
    ]
    more = {"two": np.array(2, np.int64), "end": np.array([10_000], np.int64)}
    write_graph(folder, signature, nodes, weights_of(vocabulary) | more, {"logits": 3})
    return finish(folder, _layout(folder, "language-modelling", ("prefill", "step", "text"), signature))


def classifier(folder: Path) -> Path:
    """Of images: means over places."""
    signature = Signature("model", (TensorSpec("pixel_values", "float32", ("batch", 3, 5, WIDTH)),), ("logits",))
    nodes: list[Node] = [
        ("ReduceMean", ["pixel_values", "axes"], "mean", {"keepdims": 0}),
        ("MatMul", ["mean", "out"], "logits", {}),
    ]
    write_graph(folder, signature, nodes, {**weights_of(7), "axes": np.array([1, 2], np.int64)}, {"logits": 2})
    return finish(folder, _layout(folder, "image-classification", ("pass",), signature))


def text_classifier(folder: Path, vocabulary: int, classes: int = 3) -> Path:
    """Of texts: sums over their tokens; the folder has its tokeniser already."""
    spec = ("batch", "tokens")
    inputs = tuple(TensorSpec(name, "int64", spec, 1) for name in ("input_ids", "attention_mask", "token_type_ids"))
    signature = Signature("model", inputs, ("logits",))
    nodes: list[Node] = [
        ("Gather", ["embed", "input_ids"], "tokens", {}),
        ("Cast", ["attention_mask"], "there", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["there", "axis2"], "weights", {}),
        ("Mul", ["tokens", "weights"], "weighted", {}),
        ("ReduceSum", ["weighted", "axis1"], "sum", {"keepdims": 0}),
        ("Cast", ["token_type_ids"], "types", {"to": TensorProto.FLOAT}),
        ("ReduceSum", ["types", "axis1"], "typed", {"keepdims": 1}),
        ("Add", ["sum", "typed"], "hidden", {}),
        ("MatMul", ["hidden", "classes"], "logits", {}),
    ]
    weights = weights_of(vocabulary)
    weights["classes"] = weights.pop("out")[:, :classes]
    write_graph(folder, signature, nodes, weights, {"logits": 2})
    layout = _layout(folder, "text-classification", ("pass",), signature)
    return finish(folder, replace(layout, limits={"tokens": POSITIONS}))


def _layout(folder: Path, task: str, phases: tuple[str, ...], graph: Signature) -> Layout:
    return Layout(task=task, phases=phases, graphs=(graph,), parameters=1, macs=1, files=Manifest.of(folder))
