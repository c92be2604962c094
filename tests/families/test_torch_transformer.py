"""Layers of torch's own transformers: the small model is the masked one, with torch's fused code and without."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tprune.core.plan import Plan, make_plan
from tprune.families.beside import Beside
from tprune.families.modeling.modeling_multihead import MultiheadAttention
from tprune.families.packed import PackedAttention
from tprune.families.registry import couplings, family_of
from tprune.families.rows import Row
from tprune.families.torch_transformer import TORCH_TRANSFORMER
from tprune.realise.checkpoint import load, save
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import check_coupling, random_kept, randomise_
from tprune.testing.common import apart

KINDS = ["heads", "qk", "vo", "ffn", "sublayer"]


class Tagger(nn.Module):
    """An encoder of torch's with what a user puts around it."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 16)
        layer = nn.TransformerEncoderLayer(16, 4, 20, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.tags = nn.Linear(16, 5)

    def forward(self, ids: Tensor, padding: Tensor | None = None) -> Tensor:
        found: Tensor = self.tags(self.encoder(self.words(ids), src_key_padding_mask=padding))
        return found


class Translator(nn.Module):
    """Encoder and decoder, the batch on the second axis, norms first."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 16)
        self.body = nn.Transformer(16, 2, 1, 1, 20, norm_first=True)
        self.out = nn.Linear(16, 20)

    def forward(self, ids: Tensor, padding: Tensor | None = None) -> Tensor:
        words = self.words(ids).transpose(0, 1)
        causal = self.body.generate_square_subsequent_mask(6, dtype=words.dtype)
        given = {"src_key_padding_mask": padding, "memory_key_padding_mask": padding}
        found: Tensor = self.out(self.body(words, words[:6], tgt_mask=causal, **given))
        return found.transpose(0, 1)


MODELS: dict[str, Callable[[], nn.Module]] = {"tagger": Tagger, "translator": Translator}


def made(name: str) -> Any:
    torch.manual_seed(0)
    model = MODELS[name]().double().eval()
    randomise_(model)
    for tensor in model.parameters():
        if tensor.ndim > 1:
            tensor.data *= 2
    return model


def said(model: Any, padded: bool = True) -> Tensor:
    """With padding the encoder packs its input as a nested tensor where nothing was cut from it."""
    ids = torch.randint(20, (3, 8), generator=torch.Generator().manual_seed(1))
    padding = torch.zeros(3, 8, dtype=torch.bool)
    padding[1, 5:] = True
    with torch.no_grad():
        found: Tensor = model(ids, padding if padded else None)
    kept = ~padding[:, : found.shape[1]]
    return found[kept] if isinstance(model, Tagger) else found


def plan_of(model: Any, kinds: Sequence[str] | None = None, seed: int = 0) -> Plan:
    return random_kept(model, make_plan(model, family_of(model).name, couplings(model, kinds)), seed=seed)


@pytest.mark.parametrize("name", MODELS)
def test_couplings_are_closed(name: str) -> None:
    model = made(name)
    assert list(dict.fromkeys(c.kind for c in couplings(model))) == ["heads", "qk", "vo", "sublayer", "ffn"]
    for coupling in couplings(model):
        check_coupling(model, coupling, said)


@pytest.mark.parametrize("name", MODELS)
def test_masked_is_shrunk_and_again(name: str, tmp_path: Path) -> None:
    model = made(name)
    for seed in range(2):
        for kinds in (*([kind] for kind in KINDS), None):
            plan = plan_of(model, kinds, seed)
            small, reference = shrink(model, plan), masked(model, plan)
            for padded in (True, False):
                assert apart(said(model, padded), said(reference, padded)) > 1e-3
                assert apart(said(reference, padded), said(small, padded)) <= 1e-10, kinds
    again = plan_of(small, seed=4)
    assert apart(said(masked(small, again)), said(shrink(small, again))) <= 1e-10
    small = small.float()
    folder = save(small, tmp_path / "m")
    back = load(folder, architecture=MODELS[name])
    assert torch.equal(said(back), said(small))


def test_units_alone_keep_the_fused_code_and_heads_switch_it_off() -> None:
    model = made("tagger")
    units, heads = (shrink(model, plan_of(model, [kind])) for kind in ("ffn", "heads"))
    assert type(units.encoder.layers[0].self_attn) is nn.MultiheadAttention and units.encoder.use_nested_tensor
    attention = heads.encoder.layers[0].self_attn
    assert type(attention) is MultiheadAttention and not heads.encoder.use_nested_tensor
    assert (attention.num_heads, attention.in_proj_weight.shape, attention.scale) == (2, (24, 16), 0.5)


@pytest.mark.parametrize("kind", ["heads", "ffn", "sublayer"])
def test_blocks_of_which_nothing_is_left(kind: str, tmp_path: Path) -> None:
    model = made("tagger")
    block = "linear1" if kind == "ffn" else "self_attn"
    plan = make_plan(model, "torch_transformer", couplings(model, [kind]))
    first = f"encoder.layers.0{'' if kind == 'ffn' else '.self_attn'}.{kind}"
    plan = plan.with_kept({e.coupling.name: e.keep & (e.coupling.name != first) for e in plan.entries}, {}, {})
    small, reference = shrink(model, plan), masked(model, plan)
    assert small.encoder.layers[0].get_submodule(block).removed and small.encoder.layers[0].activation_relu_or_gelu == 0
    assert apart(said(model), said(reference)) > 1e-3
    assert apart(said(reference), said(small)) <= 1e-10
    back = load(save(small.float(), tmp_path / "m"), architecture=Tagger)
    assert torch.equal(said(back), said(small)) and not any(c.name == first for c in couplings(back))


def test_what_is_asked_of_an_attention_is_answered() -> None:
    torch.manual_seed(0)
    dense = nn.MultiheadAttention(8, 2, batch_first=True).double().eval()
    ours = MultiheadAttention(dense, 2, 4, 4).double().eval()
    ours.load_state_dict(dense.state_dict())
    x, y = torch.randn(3, 5, 8).double(), torch.randn(3, 7, 8).double()
    masks: list[dict[str, Any]] = [
        {},
        {"attn_mask": torch.rand(5, 7) > 0.7},
        {"attn_mask": torch.randn(6, 5, 7).double()},
        {"key_padding_mask": torch.arange(7).expand(3, 7) > 4},
        {"key_padding_mask": torch.randn(3, 7).double(), "attn_mask": torch.randn(5, 7).double()},
    ]
    for mask in masks:
        for asks in ({"need_weights": False}, {}, {"average_attn_weights": False}):
            for a, b in zip(dense(x, y, y, **mask, **asks), ours(x, y, y, **mask, **asks), strict=True):
                assert a is b or apart(a, b) <= 1e-12
    one = dense(x[0], y[0], y[0]), ours(x[0], y[0], y[0])
    assert all(apart(a, b) <= 1e-12 for a, b in zip(*one, strict=True))
    with pytest.raises(ValueError, match="a mask for 5 heads of a batch; 2 of each are left"):
        ours(x, y, y, attn_mask=torch.zeros(5, 5, 7).double())


def test_attentions_of_other_builds_are_left_alone() -> None:
    model: Any = made("tagger")
    model.encoder.layers[1].self_attn = nn.MultiheadAttention(16, 4, add_bias_kv=True, batch_first=True).double()
    names = [c.name for c in couplings(model)]
    assert "encoder.layers.0.self_attn.heads" in names and "encoder.layers.1.self_attn.heads" not in names
    assert "encoder.layers.1.ffn" in names
    with pytest.raises(InputError, match="of no supported family"):
        couplings(nn.Linear(2, 2))


def without_values(row: Row) -> Row:
    """A table that takes the sizes of another number of heads."""
    if isinstance(row, Beside) and isinstance(row.row, PackedAttention):
        return replace(row, row=replace(row.row, sizes=row.row.sizes._replace(heads=8, kv=8, qk=2, v=2)))
    return row


def not_switched_off(row: Row) -> Row:
    return replace(row, attributes={}) if isinstance(row, Beside) else row


@pytest.mark.parametrize("mistake", [without_values, not_switched_off])
def test_mistakes_in_the_table_are_found(monkeypatch: pytest.MonkeyPatch, mistake: Callable[[Row], Row]) -> None:
    def rows(model: Any) -> Iterator[Row]:
        return (mistake(row) for row in TORCH_TRANSFORMER.rows(model))

    model, table = made("tagger"), replace(TORCH_TRANSFORMER, rows=rows)
    monkeypatch.setattr("tprune.realise.cut.family_of", lambda _: table)
    found = [c for c in table.couplings(model) if c.kind in ("heads", "sublayer")]
    with pytest.raises((AssertionError, AttributeError)):
        for coupling in found:
            check_coupling(model, coupling, said)
        plan = random_kept(model, make_plan(model, table.name, found))
        assert apart(said(masked(model, plan)), said(shrink(model, plan))) <= 1e-10


READ = """
import sys, torch
sys.modules["tprune"] = None  # importing it fails
folder = sys.argv[1]
sys.path.insert(0, folder)
from modeling_pruned import load_pruned
from torch import nn
torch.set_num_threads(1)
layer = nn.TransformerEncoderLayer(16, 4, 20, batch_first=True)
model = load_pruned(lambda: nn.TransformerEncoder(layer, 2), folder)
torch.save(model(torch.load(folder + ".in")).detach(), folder + ".out")
"""


@pytest.mark.slow
def test_a_bare_encoder_comes_back_where_tprune_is_not_installed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 20, batch_first=True), 2).eval()
    randomise_(model)
    small = shrink(model, plan_of(model))
    x = torch.randn(3, 8, 16)
    save(small, tmp_path / "m")
    torch.save(x, tmp_path / "m.in")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", READ, str(tmp_path / "m")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    torch.testing.assert_close(torch.load(tmp_path / "m.out"), small(x).detach(), rtol=0, atol=1e-5)
    torch.save(small, tmp_path / "whole.pt")  # as torch itself does it
    again = torch.load(tmp_path / "whole.pt", weights_only=False)
    assert torch.equal(again(x), small(x)) and torch.equal(copy.deepcopy(small)(x), small(x))
