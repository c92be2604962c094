"""Pruned models through torch.compile (its own backend), torch.export, and torchao's int8 weights."""

from __future__ import annotations

import copy

import pytest
import torch
from pruned_models import MODELS, ids
from torch import Tensor, nn

from tprune.families.registry import couplings
from tprune.support.errors import InputError

pytestmark = pytest.mark.slow


def given(name: str) -> dict[str, Tensor]:
    if name == "vit":
        return {"pixel_values": torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))}
    found = ids(None)
    found["attention_mask"] = torch.ones_like(found["attention_mask"])
    return found | ({"decoder_input_ids": found["input_ids"][:, :4]} if name == "marian" else {})


class Logits(nn.Module):
    """A model as a function of tensors."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *given: Tensor) -> Tensor:
        found: Tensor = self.model(**dict(zip(self.names, given, strict=True)), **self.plain).logits
        return found

    @property
    def plain(self) -> dict[str, bool]:
        return {"use_cache": False} if "input_ids" in self.names else {}


@pytest.mark.parametrize("name", ["marian", "bert", "vit", "llama"])
@torch.no_grad()
def test_exported_programs_compute_the_same(name: str) -> None:
    model, batch = MODELS[name](), given(name)
    plain = Logits(model, tuple(batch)).eval()
    expected = plain(*batch.values())
    program = torch.export.export(plain, tuple(batch.values()))
    torch.testing.assert_close(program.module()(*batch.values()), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["marian", "llama"])
@torch.no_grad()
def test_compiled_models_compute_the_same(name: str) -> None:
    torch._dynamo.reset()
    model, batch = MODELS[name](), given(name)
    plain = Logits(model, tuple(batch)).eval()
    compiled = torch.compile(plain)
    torch.testing.assert_close(compiled(*batch.values()), plain(*batch.values()), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["bert", "llama"])
@torch.no_grad()
def test_int8_weights_on_top(name: str) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    model, batch = MODELS[name](), given(name)
    small = copy.deepcopy(model)
    quantization.quantize_(small, quantization.Int8WeightOnlyConfig())
    expected, found = model(**batch).logits, small(**batch).logits
    assert not torch.equal(found, expected)
    assert (found - expected).norm() < 0.05 * expected.norm()
    with pytest.raises(InputError, match=r"is quantized .*load the model before it was quantized"):
        couplings(small)
