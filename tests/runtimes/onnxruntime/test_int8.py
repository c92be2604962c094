"""Graphs of integers from small graphs, against arithmetic in numpy, and the report on their constants."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tprune.runtimes.onnxruntime import forms
from tprune.runtimes.onnxruntime.forms import FORMS, Form, blocks_of_8, dynamic, expanded
from tprune.runtimes.onnxruntime.int8 import Constant, Quantized, quantized
from tprune.runtimes.onnxruntime.rounding import Rounded, per_row
from tprune.runtimes.onnxruntime.sites import held
from tprune.support.errors import InputError

ALL = {**FORMS, "blocks of 8": blocks_of_8}
LIMITS = {"int8": 0.03, "int8-weights": 0.02, "int4-weights": 0.25, "blocks of 8": 0.03}


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def graph(nodes: list[Any], constants: dict[str, Any], x: list[Any], axes: int, kind: int = TensorProto.FLOAT) -> Any:
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * axes)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def run(model: Any, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 2
    found: np.ndarray = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]
    return found


def fused(model: Any, folder: Path) -> Counter[str]:
    """The operators that onnxruntime makes of a graph."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 3, str(folder / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def layer(width: int, outputs: int, gemm: bool) -> Any:
    weight, bias = floats(outputs, width), floats(outputs)
    if gemm:
        return graph(
            [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)], {"w": weight, "b": bias}, ["n", width], 2
        )
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"])]
    return graph(nodes, {"w": np.ascontiguousarray(weight.T), "b": bias}, ["n", "t", width], 3)


def in_integers(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The product of int8 weights and uint8 activations, in numpy."""
    integers, scales = per_row(weight, pairs=True)
    low, high = min(x.min(), 0), max(x.max(), 0)
    step = np.float32((high - low) / 255)
    zero = np.rint(-low / step)
    rounded = np.clip(np.rint(x / step) + zero, 0, 255) - zero
    return (rounded @ integers.T.astype(np.float64)) * (step * scales) + bias


@pytest.mark.parametrize("gemm", [True, False])
@pytest.mark.parametrize(("width", "outputs"), [(1, 1), (7, 3), (64, 33), (130, 5)])
def test_an_integer_product_is_exact(width: int, outputs: int, gemm: bool) -> None:
    model = layer(width, outputs, gemm)
    made = quantized(model, dynamic).model
    x = np.abs(floats(5, width)) if gemm else floats(2, 3, width)  # positive ones saturate first
    expected = in_integers(x, floats(outputs, width), floats(outputs))
    np.testing.assert_allclose(run(made, x), expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("form", ALL.values(), ids=ALL)
@pytest.mark.parametrize(("width", "outputs"), [(1, 2), (19, 3), (64, 33), (160, 40)])
@pytest.mark.parametrize("gemm", [True, False])
def test_every_form_computes_the_product(
    form: Form, width: int, outputs: int, gemm: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    model, x = layer(width, outputs, gemm), floats(4, width) if gemm else floats(2, 2, width)
    before = model.SerializeToString()
    limit = next(LIMITS[name] for name, each in ALL.items() if each is form)
    expected = run(model, x)
    error = np.abs(run(quantized(model, form).model, x) - expected).max() / np.abs(expected).max()
    assert error < limit and (error > 0 or width == 1)
    assert model.SerializeToString() == before
    assert "[W:" not in capfd.readouterr().err


def test_a_wrong_scale_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(weight: np.ndarray, pairs: bool) -> Rounded:
        integers, scales = per_row(weight, pairs)
        scales[3] *= 1.25
        return Rounded(integers, scales)

    monkeypatch.setattr(forms, "per_row", wrong)
    with pytest.raises(AssertionError, match="Mismatched elements"):
        test_an_integer_product_is_exact(64, 33, True)
    with pytest.raises(AssertionError, match="assert"):
        model, x = layer(64, 33, True), floats(4, 64)
        expected = run(model, x)
        assert np.abs(run(quantized(model, expanded).model, x) - expected).max() / np.abs(expected).max() < 0.02


def test_onnxruntime_fuses_each_product_into_one_operator(tmp_path: Path) -> None:
    """Three products read one tensor, which is rounded once; the fourth reads another."""
    names = ("q", "k", "v")
    nodes = [helper.make_node("MatMul", ["x", f"w_{name}"], [name]) for name in names]
    nodes += [helper.make_node("Sum", list(names), ["sum"]), helper.make_node("MatMul", ["sum", "w"], ["p"])]
    nodes += [helper.make_node("Add", ["p", "b"], ["y"])]
    constants = {f"w_{name}": floats(16, 16) * (i + 1) for i, name in enumerate(names)}
    model = quantized(graph(nodes, constants | {"w": floats(16, 8), "b": floats(8)}, ["n", 16], 2), dynamic).model
    assert Counter(node.op_type for node in model.graph.node)["DynamicQuantizeLinear"] == 2
    found = fused(model, tmp_path)
    assert found == {"DynamicQuantizeLinear": 1, "MatMulIntegerToFloat": 3, "Sum": 1, "DynamicQuantizeMatMul": 1}


def tied(width: int) -> Any:
    nodes = [
        helper.make_node("Gather", ["w", "x"], ["e"], axis=0),
        helper.make_node("Gemm", ["e", "w", "b"], ["y"], transB=1),
    ]
    return graph(nodes, {"w": floats(50, width), "b": floats(50)}, ["n"], 2, kind=TensorProto.INT64)


@pytest.mark.parametrize("form", ALL.values(), ids=ALL)
@pytest.mark.parametrize("width", [24, 64])
def test_a_tied_embedding_is_stored_once(form: Form, width: int, tmp_path: Path) -> None:
    model, x = tied(width), np.array([3, 0, 49])
    made = quantized(model, form)
    expected = run(model, x)
    assert np.abs(run(made.model, x) - expected).max() / np.abs(expected).max() < 0.06
    (row,) = [each for each in made.constants if each.precision != "fp32"]
    assert row.names == ("w",) and row.operators == ("Gather", "Gemm") and row.shape == (50, width)
    filled = width if form in (dynamic, expanded) else -(-width // 32) * 32
    assert row.before == 4 * 50 * width and row.after <= 50 * (filled + 8) + 64
    assert not {"Transpose", "Reshape", "Squeeze"} & set(fused(made.model, tmp_path))  # done when a session opens


def mixed() -> Any:
    """Products that have a form, and those that have none."""
    inner = helper.make_graph(
        [helper.make_node("MatMul", ["t", "inside"], ["i"])],
        "inner",
        [],
        [helper.make_tensor_value_info("i", TensorProto.FLOAT, [4, 4])],
        [numpy_helper.from_array(floats(4, 4), "inside")],
    )
    nodes = [
        helper.make_node("MatMul", ["left", "x"], ["a"]),
        helper.make_node("MatMul", ["a", "batched"], ["b3"]),
        helper.make_node("Squeeze", ["b3", "axis"], ["b"]),
        helper.make_node("Gemm", ["b", "doubled"], ["c"], alpha=2.0, transB=1),
        helper.make_node("Transpose", ["turned"], ["back"], perm=[1, 0]),
        helper.make_node("MatMul", ["c", "back"], ["d"]),
        helper.make_node("Mul", ["d", "gain"], ["t"]),
        helper.make_node("If", ["yes"], ["f"], then_branch=inner, else_branch=inner),
        helper.make_node("Einsum", ["f", "sum"], ["h"], equation="ij,jk->ik"),
        helper.make_node("Constant", [], ["node"], value=numpy_helper.from_array(floats(4))),
        helper.make_node("Add", ["h", "node"], ["y"]),
    ]
    constants = {name: floats(4, 4) for name in ("left", "doubled", "turned", "sum")}
    constants["turned"] = floats(4, 4) * 2
    others = {"batched": floats(1, 4, 4), "gain": floats(4), "axis": np.array([0]), "yes": np.array(True)}
    return graph(nodes, constants | others, [4, 4], 2)


def by_name(found: Quantized) -> dict[str, Constant]:
    return {"+".join(each.names): each for each in found.constants}


def test_what_stays_fp32_is_in_the_report_with_the_reason() -> None:
    model = mixed()
    found = quantized(model, dynamic)
    rows = by_name(found)
    whys = {
        "left": "MatMul: the constant is the left factor",
        "batched": "MatMul: of shape [1, 4, 4]",
        "doubled": "Gemm: transposed or scaled",
        "sum": "Einsum: no form for it",
        "gain": "read by Mul",
        "node": "read by Add",
        "inside": "read by If",
    }
    assert {name: row.why for name, row in rows.items() if row.precision == "fp32"} == whys
    assert rows["back"].precision == "int8" and rows["back"].before == 64
    expected = run(model, floats(4, 4))
    assert np.abs(run(found.model, floats(4, 4)) - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("form", ALL.values(), ids=ALL)
def test_the_report_counts_all_floats_of_the_file(form: Form) -> None:
    for model in (mixed(), tied(24), layer(19, 3, True)):
        found = quantized(model, form)
        named = {name for row in found.constants if row.precision == "fp32" for name in row.names}
        left = [array.nbytes for name, array in held(found.model.graph) if name in named]
        assert sum(left) == sum(row.after for row in found.constants if row.precision == "fp32")
        stored = [array.nbytes for name, array in held(found.model.graph) if name not in {*named, "axis", "yes"}]
        assert sum(stored) == sum(row.after for row in found.constants if row.precision != "fp32")
        before = [array.nbytes for _, array in held(model.graph) if array.dtype.kind == "f"]
        assert sum(row.before for row in found.constants) == sum(before)


def test_kept_by_name() -> None:
    model = tied(24)
    found = quantized(model, dynamic, keep=["w"])
    assert by_name(found)["w"].precision == "fp32" and by_name(found)["w"].why == "kept by name"
    assert run(found.model, np.array([1])).tolist() == run(model, np.array([1])).tolist()


def convolved() -> Any:
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[1, 1, 1, 1])]
    return graph(nodes, {"w": floats(5, 3, 3, 3), "b": floats(5)}, ["n", 3, 8, 8], 4)


@pytest.mark.parametrize("form", ALL.values(), ids=ALL)
def test_kernels_are_multiplied_out_when_a_session_opens(form: Form, tmp_path: Path) -> None:
    found, x = quantized(convolved(), form), floats(2, 3, 8, 8)
    row = by_name(found)["w"]
    assert row.precision == "int8-weights" and row.why == "expanded when a session opens, computed in fp32"
    assert row.before == 4 * 135 and row.after == 135 + 4 * 5
    expected = run(convolved(), x)
    assert 0 < np.abs(run(found.model, x) - expected).max() < 0.02 * np.abs(expected).max()
    assert not {"Cast", "Mul"} & set(fused(found.model, tmp_path))


def test_empty_and_broken_matrices() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    found = quantized(graph(nodes, {"w": floats(4, 0)}, ["n", 4], 2), dynamic)
    assert [(each.precision, each.why) for each in found.constants] == [("fp32", "MatMul: empty")]
    broken = floats(4, 2)
    broken[1, 1] = np.nan
    with pytest.raises(InputError, match="w: has values that are not finite"):
        quantized(graph(nodes, {"w": broken}, ["n", 4], 2), dynamic)
    zero = quantized(graph(nodes, {"w": np.zeros((4, 2), np.float32)}, ["n", 4], 2), dynamic).model
    assert run(zero, floats(3, 4)).tolist() == [[0, 0]] * 3
