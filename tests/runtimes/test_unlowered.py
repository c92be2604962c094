"""An operator that a runtime lacks is named, with the layer that computes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from table_models import table_model
from tprune.runtimes.export import export
from tprune.runtimes.runtime import runtime_named
from tprune.runtimes.unlowered import unlowered
from tprune.support.errors import InputError
from tprune.support.machine import version_of

LAYER = "bert.encoder.layer.1.output"


class Singular(nn.Module):
    """A block that adds the sum of singular values."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, *others: Tensor) -> Any:
        return self.block(x, *others) + torch.linalg.svdvals(x).sum(-1)[:, None, None]


class Wrapper(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return self.model(x)


def test_the_layer_of_an_operator_is_named() -> None:
    wrapper = Wrapper(nn.Sequential(nn.Linear(4, 4), Singular(nn.Linear(4, 4))))
    program = torch.export.export(wrapper, (torch.ones(2, 3, 4),), strict=False)
    assert unlowered("aten::linalg_svdvals.out", program.graph.nodes, wrapper) == "operator linalg_svdvals of layer 1"
    assert unlowered("linear", program.graph.nodes, wrapper) == "operator linear of layer 0"
    assert unlowered("aten.cumsum", program.graph.nodes, wrapper) == "operator cumsum"
    for node in program.graph.nodes:
        node.meta.pop("nn_module_stack", None)
    assert unlowered("linear", program.graph.nodes, wrapper) == "operator linear"


@pytest.mark.parametrize(
    ("runtime", "says"),
    [
        pytest.param("onnxruntime", "ONNX has no operator _linalg_svd", marks=pytest.mark.slow),
        pytest.param("openvino", "ONNX has no operator _linalg_svd", marks=pytest.mark.runtimes),
        pytest.param("executorch", "executorch has no kernel for operator _linalg_svd", marks=pytest.mark.runtimes),
        pytest.param("coreml", "it does not know operator linalg_svdvals", marks=pytest.mark.runtimes),
    ],
)
def test_an_operator_that_a_runtime_lacks(
    runtime: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if version_of("coremltools" if runtime == "coreml" else runtime) is None:
        pytest.skip(f"{runtime} is not installed; make test-runtimes installs it")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = table_model("bert-classifier").float().eval()
    model.bert.encoder.layer[1].output = Singular(model.bert.encoder.layer[1].output)
    with pytest.raises(InputError, match=f"the graph model: {says} of layer {LAYER}"):
        export(model, None, tmp_path / "out", runtime=runtime_named(runtime))
    assert not (tmp_path / "out").exists()
