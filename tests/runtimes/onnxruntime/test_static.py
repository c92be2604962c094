"""Graphs of integers whose activations have constant scales."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from table_models import table_model
from tprune.core.known_tasks import task_of
from tprune.core.precision import INT8_STATIC, Precision
from tprune.runtimes.certificate import ExportCertificate
from tprune.runtimes.export import export
from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.onnxruntime import static
from tprune.runtimes.onnxruntime.engine import ONNXRUNTIME
from tprune.runtimes.onnxruntime.ranges import Range, ranges_of
from tprune.runtimes.onnxruntime.rounding import kernel_rows, per_row
from tprune.runtimes.onnxruntime.static import static_integers
from tprune.support.errors import InputError

PICTURE = (3, 4, 8, 8)


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def graph(nodes: list[Any], constants: dict[str, Any], x: tuple[int, ...], axes: int = 2) -> Any:
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *x[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * axes)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def network() -> Any:
    """Two convolutions and a sum, maxima, one more convolution, and a linear map."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "k1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "k2", "b2"], ["c2"], pads=[1, 1, 1, 1]),
        node("Add", ["c2", "r1"], ["s"]),
        node("Relu", ["s"], ["r2"]),
        node("MaxPool", ["r2"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["m", "k3"], ["c3"]),
        node("ReduceMean", ["c3", "axes"], ["p"], keepdims=0),
        node("Gemm", ["p", "w", "b"], ["y"], transB=1),
    ]
    kernels = {"k1": floats(6, 4, 3, 3), "b1": floats(6), "k2": floats(6, 6, 3, 3) / 3, "b2": floats(6)}
    rest = {"k3": floats(8, 6, 1, 1), "axes": np.array([2, 3]), "w": floats(5, 8), "b": floats(5)}
    return graph(nodes, kernels | rest, PICTURE)


def run(model: Any, x: np.ndarray, optimised: Path | None = None) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    found: np.ndarray = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]
    return found


def names(name: str, value: Any) -> tuple[str, ...]:
    return (name,)


def off(model: Any, x: np.ndarray) -> float:
    expected = run(model, x)
    found = run(static_integers(model, [{"x": x}], names).model, x)
    return float(np.sqrt(np.square(found - expected).mean() / np.square(expected - expected.mean()).mean()))


def test_a_convolutional_network_is_computed_in_integers(tmp_path: Path) -> None:
    model, x = network(), floats(*PICTURE)
    before = model.SerializeToString()
    made = static_integers(model, [{"x": x}], names)
    assert model.SerializeToString() == before
    onnx.checker.check_model(made.model)
    expected, found = run(model, x), run(made.model, x, tmp_path / "optimised.onnx")
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert operators["QLinearConv"] == 3 and operators["QLinearAdd"] == 1 and operators["MatMulIntegerToFloat"] == 1
    assert not {"Conv", "Relu", "Add", "Gemm"} & set(operators)
    rows = {each.names[0]: each.precision for each in made.constants}
    assert rows == {**dict.fromkeys(("k1", "k2", "k3", "w"), "int8-static"), "b": "fp32"}


def test_a_wrong_range_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network(), floats(*PICTURE)
    assert off(model, x) < 0.03

    def halved(*given: Any) -> dict[str, Range]:
        return {name: Range(each.low / 2, each.high / 2) for name, each in ranges_of(*given).items()}

    monkeypatch.setattr(static, "ranges_of", halved)
    assert off(model, x) > 0.1


def test_a_product_is_exact_and_does_not_depend_on_its_neighbours() -> None:
    weight, bias, x = floats(7, 12), floats(7), floats(5, 12)
    model = graph([helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)], {"w": weight, "b": bias}, x.shape)
    made = static_integers(model, [{"x": x[:3]}, {"x": x[3:]}], names).model
    step = np.float32((max(x.max(), 0) - min(x.min(), 0)) / 255)
    zero = np.rint(-min(x.min(), 0) / step)
    integers, scales = per_row(weight, pairs=True)
    rounded = np.clip(np.rint(x / step) + zero, 0, 255) - zero
    expected = (rounded @ integers.T.astype(np.float64)) * (step * scales) + bias
    found = run(made, x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    np.testing.assert_array_equal(run(made, x[1:2]), found[1:2])


def test_a_channel_without_weights_keeps_its_bias() -> None:
    kernel, bias = floats(3, 4, 3, 3), np.array([0.3, -2.0, 5.0], np.float32)
    kernel[0], kernel[1] = 0, 1e-20
    nodes = [helper.make_node("Conv", ["x", "k", "b"], ["c"]), helper.make_node("ReduceMean", ["c", "axes"], ["y"])]
    model, x = graph(nodes, {"k": kernel, "b": bias, "axes": np.array([2, 3])}, PICTURE, 4), floats(*PICTURE)
    made = static_integers(model, [{"x": x}], names).model
    held = {each.name: numpy_helper.to_array(each) for each in made.graph.initializer}
    np.testing.assert_allclose(held["c.bias"] * held["c.bias_scale"].astype(np.float64), bias, rtol=1e-4)
    np.testing.assert_allclose(run(made, x), run(model, x), atol=0.02 * np.abs(run(model, x)).max())


def test_neighbouring_weights_of_a_kernel_do_not_saturate() -> None:
    """In the order in which they are added: channels first, then places."""
    integers, _ = kernel_rows(np.abs(floats(5, 6, 3, 3)) + 1, np.zeros(5, np.float32))
    last = np.moveaxis(integers, 1, -1).reshape(5, -1).astype(int)
    assert 100 < (last[:, 1:] + last[:, :-1]).max() <= 128
    assert integers.shape == (5, 6, 3, 3)


def test_what_has_no_integers_stays() -> None:
    """A convolution that makes the output, or has a bias of the input, and a weight that is named."""
    model, x = network(), floats(*PICTURE)
    kept = {each.names[0]: each for each in static_integers(model, [{"x": x}], names, ["k2"]).constants}
    assert kept["k2"].precision == "fp32" and kept["k2"].why == "kept by name"
    last = graph([helper.make_node("Conv", ["x", "k"], ["y"])], {"k": floats(2, 4, 1, 1)}, PICTURE, 4)
    assert static_integers(last, [{"x": x}], names).constants[0].precision == "int8-weights"


def test_inputs_that_do_not_fit_are_named() -> None:
    model = network()
    with pytest.raises(InputError, match="calibration batch 2: x becomes infinite or no number"):
        static_integers(model, [{"x": floats(*PICTURE)}, {"x": np.full(PICTURE, np.nan, np.float32)}], names)
    with pytest.raises(InputError, match=r"calibration batch 1: the model does not run on it \(.*"):
        static_integers(model, [{"x": floats(1, 4, 9, 9)}], names)


@pytest.mark.parametrize("name", ["resnet", "bert-classifier"])
def test_an_export_is_calibrated(name: str, tmp_path: Path) -> None:
    model = table_model(name).eval()
    task = task_of(model)
    torch.manual_seed(0)
    batches = [task.random(model) for _ in range(2)]
    report = export(model, None, tmp_path / "out", precision=INT8_STATIC, calibration=batches, thorough=False)
    assert report.precision == "int8-static" and 0 < report.rms < 0.1
    assert OnePass.load(tmp_path / "out").layout.precision == INT8_STATIC
    products = ExportCertificate.read(tmp_path / "out").products
    assert {p.precision for p in products if p.matrix} <= {"int8-static", "int8", "fp32"}
    assert any(p.precision == "int8-static" for p in products)
    with pytest.raises(InputError, match="int8-static measures activations on inputs of the model's task, and none"):
        export(model, None, tmp_path / "none", precision=INT8_STATIC)


def test_models_with_caches_are_refused() -> None:
    for build in ("encoder-decoder", "decoder-only"):
        why = ONNXRUNTIME.supports(INT8_STATIC, build)
        assert why is not None and "is for models that run in one pass" in why and "expected int8" in why
    assert ONNXRUNTIME.supports(INT8_STATIC, "single-pass") is None
    assert Precision("int8-static").suffix == "-int8-static"
