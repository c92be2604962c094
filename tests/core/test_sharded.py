"""Couplings of parameters that FSDP2 has cut into rows: norms, masks and steps are those of whole groups."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, ViTConfig, ViTForImageClassification

from small_net import Net, Pairs, assert_same, plan_of, state
from tprune.core.coupling import Coupling, bind, consumer, producer, tensors_of
from tprune.core.plan import Mode
from tprune.core.sharded import is_sharded
from tprune.families.registry import couplings
from tprune.methods.gradual_magnitude import GradualMagnitude
from tprune.methods.group_lasso import GroupLasso
from tprune.methods.regulariser import Regulariser
from tprune.support.errors import InputError
from tprune.testing import randomise_
from tprune.train.sharding import axis_to_cut, gather_, layers_of, shard_
from two_processes import together

SIZES = {"vocab_size": 13, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 7}
IMAGES = {k: SIZES[k] for k in list(SIZES)[1:]} | {"image_size": 8, "patch_size": 4}
UNITS = 7  # of Net: odd, so that the processes hold unequally many rows


def models() -> dict[str, nn.Module]:
    """With tied embeddings, fused projections whose parts are viewed, and tensors with a single row."""
    torch.manual_seed(0)
    found = {
        "bert": BertForMaskedLM(BertConfig(**SIZES, max_position_embeddings=9)),
        "gpt2": GPT2LMHeadModel(GPT2Config(vocab_size=13, n_embd=12, n_layer=2, n_head=3, n_inner=7, n_positions=9)),
        "vit": ViTForImageClassification(ViTConfig(**IMAGES)),
    }
    for model in found.values():
        randomise_(model)
    return found


def blocks() -> Coupling:
    """Ragged blocks over rows and columns, and a member that repeats another."""
    pattern, sizes = "(R r) (C c) -> R C", {"r": 2, "c": 2}
    return Coupling("blocks", (producer("up.weight", pattern, **sizes), consumer("up.weight", pattern, **sizes)))


def of_net() -> list[Coupling]:
    return [blocks(), *plan_of(Net(UNITS), Mode.GRADIENT, 1.0).couplings]


def norms_of(couplings_: list[Coupling], model: nn.Module) -> dict[str, Tensor]:
    return {g.coupling.name: g.norms.detach() for g in bind(couplings_, model)}


def train(model: Net, mode: Mode, method: object, rank: int, size: int, shard: bool) -> dict[str, Tensor]:
    """Eight steps on this process's rows of every batch; the whole weights at the end."""
    whole = Net(UNITS)
    if shard:
        shard_(model, "cpu")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    regulariser = Regulariser(whole, plan_of(whole, mode, 0.2, method), ramp=3)  # type: ignore[arg-type]
    if shard:
        regulariser._bind_sharded(model)
    else:
        regulariser = Regulariser(model, regulariser.plan, ramp=3)
    regulariser.attach(optimizer)
    data, share = Pairs(64), 8 // size
    for step in range(8):
        optimizer.zero_grad()
        model(**data.batch(step * 8 + rank * share, share))["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        optimizer.step()
    if not shard:
        return state(model)
    gather_(whole, model)
    return state(whole)


METHODS = {
    "gradient": (Mode.GRADIENT, GroupLasso()),
    "decoupled": (Mode.DECOUPLED, GroupLasso()),
    "proximal": (Mode.PROXIMAL, GroupLasso()),
    "masks": (Mode.GRADIENT, GradualMagnitude(share=0.5, begin=1, over=3, every=1)),
}


def work(rank: int, folder: Path) -> None:
    found = {}
    for name, model in models().items():
        mine = list(couplings(model))
        shard_(model, "cpu")
        assert all(is_sharded(tensor) for tensor in model.parameters())
        rows = [c for c in mine if all(axis_to_cut(tensors_of(model)[p], 2) == 0 for p in c.params)]
        assert len(rows) > 0.8 * len(mine)
        found[name] = norms_of(rows, model)
        for other in set(mine) - set(rows):
            with pytest.raises(InputError, match="expected rows on one axis"):
                _ = bind([other], model)[0].norms
    net = Net(UNITS)
    shard_(net, "cpu")
    found["net"] = norms_of(of_net(), net)
    filled = bind([blocks()], net)[0].filled
    trained = {name: train(Net(UNITS), *how, rank, 2, True) for name, how in METHODS.items()}
    torch.save((found, filled, trained), folder / f"{rank}.pt")


@pytest.mark.slow
def test_two_processes_with_half_the_rows_each_equal_one(tmp_path: Path) -> None:
    together(work, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name, model in {**models(), "net": Net(UNITS)}.items():
        known = of_net() if name == "net" else list(couplings(model))
        expected = norms_of([c for c in known if c.name in first[0][name]], model)
        for coupling, norms in first[0][name].items():
            torch.testing.assert_close(norms, expected[coupling], rtol=1e-5, atol=1e-6)
            assert torch.equal(norms, second[0][name][coupling])  # every process decides alike
    assert first[1].all() and second[1].all()
    for name, how in METHODS.items():
        single = train(Net(UNITS), *how, 0, 1, False)
        assert_same(first[2][name], single, rtol=1e-4, atol=1e-6)
        if name == "masks":
            assert (single["up.weight"] == 0).all(1).any()
            assert torch.equal(single["up.weight"] == 0, first[2][name]["up.weight"] == 0)


def test_layers_that_share_a_parameter_with_others_are_left_to_the_whole() -> None:
    model = models()["bert"]
    assert len(layers_of(model)) == 2
    stack = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    holder = nn.Sequential(stack, nn.Linear(2, 2))
    holder[1].weight = stack[0].weight
    assert layers_of(holder) == [stack[1]]
