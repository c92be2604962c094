from typing import Any

import pytest
import torch

from small_models import SIZES, small_model
from tprune.core.plan import make_plan
from tprune.costs.size import size_after
from tprune.counting.size import Size, size, size_on_paper
from tprune.families.registry import couplings
from tprune.realise.shrink import shrink
from tprune.tasks.translation.task import Translation
from tprune.testing import random_kept


def by_hand(model: Any, s: int, t: int) -> int:
    """Multiply-accumulates of a teacher-forced pass, from the layers' shapes."""
    total = 0
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            over_source = ".encoder." in name or ("encoder_attn" in name and name.endswith(("k_proj", "v_proj")))
            total += module.weight.numel() * (s if over_source else t)
        if hasattr(module, "q_proj") and not getattr(module, "removed", False):
            reads = s if ".encoder." in name or "encoder_attn" in name else t
            asks = s if ".encoder." in name else t
            total += asks * reads * (module.q_proj.out_features + module.v_proj.out_features)
    return total


@pytest.mark.parametrize("family", ["marian", "marian_untied", "bart", "bart_untied"])
def test_a_dense_model_by_hand(family: str) -> None:
    model = small_model(family).float()
    found = size(model, Translation(7, 5))
    learned = {id(p): p for p in model.parameters() if p.requires_grad}
    assert found.parameters == sum(p.numel() for p in learned.values())
    assert found.bytes == 4 * found.parameters
    assert found.macs == by_hand(model, 7, 5)


@pytest.mark.parametrize("kind", ["ffn", "heads", "qk", "vo", "sublayer", "width"])
def test_a_pruned_model_by_hand(kind: str) -> None:
    model = small_model("marian").float()
    plan = random_kept(model, make_plan(model, "marian", couplings(model, [kind])))
    small = shrink(model, plan)
    assert size(small, Translation(7, 5)).macs == by_hand(small, 7, 5)
    assert size(small).parameters < size(model).parameters


@pytest.mark.parametrize("family", ["marian", "marian_untied", "bart", "bart_untied"])
def test_the_size_on_paper_is_the_real_one(family: str) -> None:
    model = small_model(family).float()
    plan = random_kept(model, make_plan(model, family, couplings(model)))
    assert size_after(model, plan) == size(shrink(model, plan))


def test_tied_weights_count_once_and_positions_do_not() -> None:
    tied, untied = (size(small_model(name)) for name in ("bart", "bart_untied"))
    assert untied.parameters - tied.parameters == 3 * 40 * SIZES["d_model"]
    positions = sum(p.numel() for n, p in small_model("marian").named_parameters() if "embed_positions" in n)
    every = sum(p.numel() for p in small_model("marian").parameters())
    assert size(small_model("marian")).parameters == every - positions


@pytest.mark.parametrize(("dtype", "width"), [(torch.bfloat16, 2), (torch.float32, 4), (torch.float64, 8)])
def test_bytes_follow_the_precision(dtype: torch.dtype, width: int) -> None:
    found = size(small_model("marian").to(dtype))
    assert found.bytes == width * found.parameters


def test_counting_changes_nothing() -> None:
    model = small_model("marian").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = size(model)
    assert model.training and size(model.eval()) == first and not model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_lengths_stay_within_the_positions() -> None:
    model = small_model("marian").float()
    assert size(model, Translation(1000, 1000)) == size(model, Translation(30, 30))
    assert size(model, Translation(10, 5)).macs < size(model, Translation(10, 6)).macs


def test_paper_needs_no_values() -> None:
    assert size_on_paper(lambda: small_model_on_meta()) == size(small_model("marian").float())
    assert Size(1, 4, 2).to_dict() == {"parameters": 1, "bytes": 4, "macs": 2}


def small_model_on_meta() -> Any:
    from transformers import MarianConfig, MarianMTModel

    return MarianMTModel(MarianConfig(vocab_size=40, **SIZES))
