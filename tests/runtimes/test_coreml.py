"""Core ML: what its converter lacks is written otherwise, and computes the same; what it writes is not run here."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from table_models import table_model
from tprune.core.known_tasks import task_of
from tprune.core.precision import FP32, INT8, Precision
from tprune.families.graphs.graph import Graph, skeleton_of
from tprune.runtimes.certificate import ExportCertificate
from tprune.runtimes.coreml.engine import COREML
from tprune.runtimes.coreml.rewritten import LARGEST, rewrite_
from tprune.runtimes.export import export
from tprune.runtimes.one_pass import OnePass
from tprune.support.errors import InputError
from tprune.support.machine import version_of

HERE = version_of("coremltools") is not None


def graph_of(name: str) -> Graph:
    model = table_model(name).float().eval()
    task = task_of(model)
    return skeleton_of(model).graphs(model, task, task.prompt(task.random(model)), COREML.dialect)[0]


class Odd(nn.Module):
    """The operators that coremltools 9.0 does not convert, as models of transformers write them."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        ones = mask.new_ones((), dtype=torch.bool) & mask.bool()
        bias = torch.where(ones, torch.tensor(0.0), torch.finfo(torch.float32).min)
        return (x + bias).softmax(-1) + x.new_zeros(()) + torch.zeros(()) + torch.full((), 2.0)


@pytest.mark.parametrize("half", [False, True])
def test_rewritten_operators_compute_the_same(half: bool) -> None:
    given = (torch.randn(3, 5), torch.tensor([[1, 1, 1, 0, 0]] * 3))
    program = torch.export.export(Odd(), given, strict=False).run_decompositions({})
    odd = {"aten.__and__.Tensor", "aten.new_ones.default", "aten.where.ScalarOther", "aten.new_zeros.default"}
    assert odd <= {str(node.target) for node in program.graph.nodes}
    rewrite_(program.graph, half)
    program.graph_module.recompile()
    assert not odd & {str(node.target) for node in program.graph.nodes}
    assert torch.allclose(program.module()(*given), Odd()(*given), atol=1e-6)
    numbers = [each for node in program.graph.nodes for each in node.args if isinstance(each, float)]
    assert all(abs(each) <= LARGEST for each in numbers) == half  # 0 times infinity would be no number


def test_what_it_is_not_written_for_is_refused() -> None:
    assert COREML.supports(FP32, "single-pass") is None and COREML.supports(Precision("fp16"), "decoder-only") is None
    assert "no int8 is written for it; expected fp32 or fp16" in str(COREML.supports(INT8, "single-pass"))


@pytest.mark.skipif(HERE, reason="coremltools is installed")
def test_a_missing_package_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"coreml is not installed here; pip install 'tprune\[coreml\]'"):
        export(table_model("resnet").float().eval(), None, tmp_path / "out", runtime=COREML)
    assert not (tmp_path / "out").exists()


@pytest.mark.runtimes
@pytest.mark.skipif(not HERE, reason="coremltools is not installed")
@pytest.mark.parametrize("name", ["bert-classifier", "resnet"])
def test_models_are_written_with_the_names_of_their_graphs(name: str, tmp_path: Path) -> None:
    import coremltools

    model = table_model(name).float().eval()
    export(model, None, tmp_path / "out", runtime=COREML, precision=Precision("fp16"))
    assert not ExportCertificate.read(tmp_path / "out").ran
    with zipfile.ZipFile(tmp_path / "out" / "model.mlpackage.zip") as packed:
        packed.extractall(tmp_path)
    spec: Any = coremltools.utils.load_spec(str(tmp_path / "model.mlpackage"))
    signature = graph_of(name).signature
    assert [each.name for each in spec.description.input] == [each.name for each in signature.inputs]
    assert [each.name for each in spec.description.output] == ["logits"]
    ranges = spec.description.input[0].type.multiArrayType.shapeRange.sizeRanges
    assert ranges[0].lowerBound == 1
    with pytest.raises(InputError, match="exported for Core ML, which runs on iOS"):
        OnePass.load(tmp_path / "out")
