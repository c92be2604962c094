"""Files of older opsets, which older versions of onnxruntime read."""

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import defs, helper
from onnx_models import stock_marian

from table_models import table_model
from tprune.cli.export import _with_opset
from tprune.core.graph import Signature
from tprune.core.known_tasks import task_of
from tprune.core.precision import FP32, Precision
from tprune.families.graphs.graph import Graph, skeleton_of
from tprune.runtimes.layout import Layout
from tprune.runtimes.onnxruntime.engine import ONNXRUNTIME, OnnxRuntime
from tprune.runtimes.openvino.engine import OPENVINO
from tprune.support.errors import InputError
from tprune.support.manifest import Manifest

OLD = OnnxRuntime(opset=21)
OLDER = os.environ.get("TPRUNE_OLD_PYTHON")  # an interpreter with numpy and onnxruntime 1.20
MODELS: Mapping[str, Callable[[], Any]] = {
    "marian": lambda: stock_marian(120),
    **{name: partial(table_model, name) for name in ("bert-classifier", "resnet", "llama")},
}
SIZES = {"batch": 2, "tokens": 5, "past": 3, "total": 8, "source": 6}
RUN = """
import sys
import numpy as np, onnxruntime
assert onnxruntime.__version__.startswith("1.20."), onnxruntime.__version__
feeds, model, out = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
np.savez(out, *session.run(None, dict(np.load(feeds))))
"""


def graphs_of(name: str, runtime: OnnxRuntime) -> tuple[Graph, ...]:
    model = MODELS[name]().float().eval()
    task = task_of(model)
    made = skeleton_of(model).graphs(model, task, task.prompt(task.random(model)), runtime.dialect)
    return tuple(replace(graph, calibration=(feeds(graph.signature),)) for graph in made)


def feeds(signature: Signature) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)

    def one(dtype: str, shape: tuple[int, ...], fill: int) -> np.ndarray:
        return random.standard_normal(shape).astype(dtype) if dtype == "float32" else np.full(shape, fill or 3, dtype)

    return {spec.name: one(spec.dtype, spec.shape(SIZES), spec.fill) for spec in signature.inputs}


def strange(model: Any, opset: int) -> set[str]:
    """Operators of ONNX in a file that an opset does not have, in graphs inside it too."""
    assert not model.functions and {one.version for one in model.opset_import if not one.domain} == {opset}
    found, waiting = set(), [model.graph]
    for graph in waiting:
        for node in graph.node:
            waiting += [inner for each in node.attribute for inner in (*each.graphs, each.g) if inner.node]
            if not node.domain and not _known(node.op_type, opset):
                found.add(node.op_type)
    return found


def _known(name: str, opset: int) -> bool:
    try:
        return not defs.get_schema(name, opset).deprecated
    except defs.SchemaError:
        return False


@pytest.mark.parametrize(
    "name", [pytest.param("marian"), *(pytest.param(n, marks=pytest.mark.slow) for n in list(MODELS)[1:])]
)
def test_files_have_the_operators_of_their_opset_alone(name: str, tmp_path: Path) -> None:
    graphs = graphs_of(name, OLD)[-1:]
    OLD.write(graphs, tmp_path, FP32)
    OLD.rounded(graphs, tmp_path, tmp_path, Precision("int8"))
    model = onnx.load(tmp_path / f"{graphs[0].name}.onnx")
    assert strange(model, 21) == set()
    model.graph.node.append(helper.make_node("RMSNormalization", ["x", "s"], ["y"]))
    assert strange(model, 21) == {"RMSNormalization"}


def test_the_oldest_version_counts_operators_of_onnxruntime_too(tmp_path: Path) -> None:
    layout = Layout(task="t", phases=(), graphs=(Signature("g", (), ()),), parameters=0, macs=0, files=Manifest({}))

    def oldest(opset: int, operator: str) -> str:
        graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "g", [], [])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), tmp_path / "g.onnx")
        return ONNXRUNTIME.oldest(tmp_path, layout)

    assert [oldest(opset, "Relu") for opset in (20, 21, 22, 23)] == ["1.20", "1.20", "1.22", "1.23"]
    assert oldest(21, "GatherBlockQuantized") == "1.23" and oldest(24, "GatherBlockQuantized") == "1.24"


def test_what_an_opset_cannot_hold_is_refused() -> None:
    assert ONNXRUNTIME.dialect == "onnx23" and OLD.dialect == OnnxRuntime(opset=22).dialect == "masked"
    with pytest.raises(InputError, match="opset 20; expected one of 21, 22, 23"):
        _with_opset(ONNXRUNTIME, 20)
    with pytest.raises(InputError, match="--opset 21 is for files of ONNX, which runtime openvino does not have"):
        _with_opset(OPENVINO, 21)
    for name in ("int4-weights", "int8-greedy"):
        assert "expected opset 23, or int8" in str(OLD.supports(Precision(name), "encoder-decoder"))
        assert ONNXRUNTIME.supports(Precision(name), "encoder-decoder") is None


@pytest.mark.runtimes
@pytest.mark.skipif(OLDER is None, reason="TPRUNE_OLD_PYTHON names no interpreter with onnxruntime 1.20")
@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-static", "int8-weights"])
@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_1_20_computes_the_same(name: str, precision: str, tmp_path: Path) -> None:
    numbers = Precision(precision)
    if OLD.supports(numbers, skeleton_of(MODELS[name]()).name):
        pytest.skip("no such precision")
    graphs = graphs_of(name, OLD)
    OLD.write(graphs, tmp_path, numbers)
    layout = Layout(task="t", phases=(), graphs=(), parameters=0, macs=0, files=Manifest.of(tmp_path))
    session = OLD.open(tmp_path, replace(layout, graphs=tuple(graph.signature for graph in graphs)), 1)
    for graph in graphs:
        given, inputs, out = feeds(graph.signature), tmp_path / "in.npz", tmp_path / "out.npz"
        np.savez(inputs, **given)  # type: ignore[arg-type]  # names are those of inputs
        subprocess.run([str(OLDER), "-c", RUN, inputs, tmp_path / f"{graph.name}.onnx", out], check=True)
        expected = session.run(graph.name, given, graph.signature.outputs)
        for want, found in zip(expected, np.load(out).values(), strict=True):
            np.testing.assert_allclose(found, want, rtol=0, atol=(1e-5 if numbers.exact else 0.02) * np.abs(want).max())
