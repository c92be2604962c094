"""Families that compute tensors of their small models: values that change with the sizes, and added buffers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from table_models import EXACT
from tprune.core.cuts import Cuts
from tprune.core.plan import make_plan
from tprune.core.sites import ENCODER, FEED_FORWARD, Site
from tprune.families.feed_forward import FeedForward
from tprune.families.llama import LLAMA, rows, width
from tprune.families.modeling.modeling_pruned import load_pruned
from tprune.families.residual import Residual
from tprune.families.rows import Changes, Heads
from tprune.families.table import Table
from tprune.realise import cut as cutting
from tprune.realise.checkpoint import load, save
from tprune.realise.mask import masked
from tprune.support.errors import InputError
from tprune.testing import random_kept, randomise_
from tprune.testing.common import apart


@dataclass(frozen=True)
class ScaledNorms(Residual):
    """The stream of a Llama whose norms stay those of its class."""

    eps: float = 0.0

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """With ε·D/K in place of ε."""
        (dense,), (left,) = (shape(f"{self.norms[0]}.weight") for shape in (cuts.shapes.__getitem__, cuts.shape))
        return Changes(attributes={name: {"variance_epsilon": self.eps * dense / left} for name in self.norms})


def scaled(model: Any) -> ScaledNorms:
    stream = width(model)
    said = {field.name: getattr(stream, field.name) for field in dataclasses.fields(stream)}
    return ScaledNorms(**said, eps=model.get_submodule(stream.norms[0]).variance_epsilon)


def norms(model: Any, cuts: Cuts) -> Mapping[str, Tensor]:
    """γ·√(D/K): over K of D dimensions the root mean square is √(D/K) times that over all, the others being zero."""
    names = [f"{name}.weight" for name in width(model).norms]
    saved = model.state_dict()
    return {name: cuts.slice(name, saved[name]) * (cuts.shapes[name][0] / cuts.shape(name)[0]) ** 0.5 for name in names}


SCALED = dataclasses.replace(
    LLAMA,
    name="scaled",
    rows=lambda m: [*(row for row in rows(m) if row.module), scaled(m)],
    computed=norms,
)


class Gain(nn.Module, PyTorchModelHubMixin):
    """Hidden units with gains that the class computes and does not save."""

    def __init__(self, units: int = 12) -> None:
        super().__init__()
        self.block = nn.Module()
        self.block.up, self.block.down = nn.Linear(4, units), nn.Linear(units, 4)
        self.block.register_buffer("gain", torch.linspace(1, 2, units), persistent=False)
        self.block.register_buffer("shift", torch.arange(units), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        block: Any = self.block
        out: Tensor = x + block.down(torch.relu(block.up(x)) * block.gain + block.shift)
        return out


def gains(model: Any, cuts: Cuts) -> Mapping[str, Tensor]:
    kept = cuts.keep.get("block.up.weight", {}).get(0)
    return {} if kept is None else {f"block.{name}": getattr(model.block, name)[kept] for name in ("gain", "shift")}


UNITS = FeedForward(Site(ENCODER, 0, FEED_FORWARD), "block", ("block.up",), "block.down")
GAIN = Table("gain", lambda m: isinstance(m, Gain), lambda _: [UNITS], lines=False, computed=gains)


def pruned(monkeypatch: pytest.MonkeyPatch, table: Table, model: Any, kind: str) -> tuple[Any, Any]:
    """The masked model and the small one, with random groups left of one kind."""
    monkeypatch.setattr(cutting, "family_of", lambda _: table)
    found = [one for one in table.couplings(model) if one.kind == kind]
    plan = random_kept(model, make_plan(model, table.name, found))
    return masked(model, plan), cutting.cut(model, plan)


@pytest.fixture
def llama() -> Any:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=20, **sizes)).double().eval()
    randomise_(model)
    return model


@torch.no_grad()
def test_values_change_with_the_sizes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, llama: Any) -> None:
    wanted, small = pruned(monkeypatch, SCALED, llama, "width")
    ids = torch.arange(12).view(2, 6)
    assert small.config.hidden_size > small.model.norm.weight.shape[0]
    assert not small.config.pruned["replaced"]  # norms are of the class that they had
    assert apart(wanted(ids).logits, small(ids).logits) <= SCALED.tolerance
    again = load(save(small, tmp_path / "small"))
    assert apart(small(ids).logits, again.to(torch.float64)(ids).logits) <= 1e-6
    plain = dataclasses.replace(SCALED, computed=lambda _model, _cuts: {})
    _, wrong = pruned(monkeypatch, plain, llama, "width")
    assert apart(wanted(ids).logits, wrong(ids).logits) > 1e-2


@torch.no_grad()
def test_buffers_are_added(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model: Any = Gain().double()
    randomise_(model)
    x = torch.randn(3, 4, dtype=torch.float64)
    wanted, small = pruned(monkeypatch, GAIN, model, "ffn")
    left = small.block.up.out_features
    shift = {"shape": [left], "dtype": "int64"}
    assert small.pruned["buffers"] == {"block.gain": {"shape": [left]}, "block.shift": shift} and left < 12
    assert apart(wanted(x), small(x)) <= EXACT
    twice, smaller = pruned(monkeypatch, GAIN, small, "ffn")
    assert smaller.pruned["buffers"]["block.gain"]["shape"] == [smaller.block.up.out_features] < [left]
    assert apart(twice(x), smaller(x)) <= EXACT
    again = load_pruned(Gain, save(smaller, tmp_path / "small")).to(torch.float64)
    assert torch.equal(again.block.gain, smaller.block.gain) and apart(again(x), smaller(x)) <= EXACT


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("block.up.bias", 12, r"computes block\.up\.bias of shape \(12,\); the cuts leave \(\d+,\)"),
        ("nowhere.gain", 2, "computes nowhere.gain, and the model has no module 'nowhere'"),
    ],
)
def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, shape: int, said: str) -> None:
    wrong = dataclasses.replace(GAIN, computed=lambda _model, _cuts: {name: torch.zeros(shape)})
    with pytest.raises(InputError, match=said):
        pruned(monkeypatch, wrong, Gain(), "ffn")


def test_stock_classes_save_no_added_buffers(monkeypatch: pytest.MonkeyPatch, llama: Any) -> None:
    added = dataclasses.replace(LLAMA, computed=lambda _model, _cuts: {"model.extra": torch.zeros(2)}, stock={"": ""})
    cuts = cutting.cuts_of(llama, make_plan(llama, "llama", list(LLAMA.couplings(llama))))
    with pytest.raises(InputError, match=r"does not save model\.extra, which the family computes; leave out stock"):
        added.build(llama, cuts, {}, stock=True)
