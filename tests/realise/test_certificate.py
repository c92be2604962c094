from typing import Any

import pytest
import torch

from small_models import small_batch, small_model
from tprune.core.plan import make_plan
from tprune.families.registry import couplings
from tprune.realise.certificate import certify
from tprune.realise.checkpoint import load, load_tokenizer
from tprune.realise.shrink import shrink
from tprune.support.errors import CertificateError
from tprune.tasks.translation.encoding import Collate
from tprune.testing import random_kept


def pruned(dtype: torch.dtype = torch.float64) -> tuple[Any, Any, Any]:
    model = small_model("marian").to(dtype)
    plan = random_kept(model, make_plan(model, "marian", couplings(model, ["ffn", "heads", "qk", "vo"])))
    return model, plan, shrink(model, plan)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
def test_a_correct_cut_is_certified(dtype: torch.dtype, limit: float) -> None:
    model, plan, small = pruned(dtype)
    certificate = certify(model, plan, small, small_batch(), steps=6)
    assert certificate.forward <= limit and certificate.generation <= limit
    assert (certificate.steps, certificate.sentences) == (6, 3)
    assert set(certificate.to_dict()) == {"forward", "generation", "steps", "sentences", "limit"}


def test_steps_stay_within_the_positions() -> None:
    model, plan, small = pruned()
    assert certify(model, plan, small, small_batch(), steps=500).steps == 29


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("model.encoder.layers.1.fc1.weight", "from encoder layer 1 on"),
        ("model.decoder.layers.2.fc2.bias", "from decoder layer 2 on"),
        ("model.shared.weight", "from the encoder's embeddings on"),
        ("final_logits_bias", "in the output projection"),
    ],
)
def test_a_failing_certificate_says_where(where: str, says: str) -> None:
    model, plan, small = pruned()
    with torch.no_grad():
        dict(small.state_dict())[where].mul_(1.5)
    with pytest.raises(CertificateError, match=says):
        certify(model, plan, small, small_batch())


def test_values_that_are_not_finite_fail() -> None:
    model, plan, small = pruned()
    with torch.no_grad():
        small.model.decoder.layers[0].fc1.bias[0] = float("nan")
    with pytest.raises(CertificateError, match="inf off"):
        certify(model, plan, small, small_batch())


@pytest.mark.slow
def test_a_real_model_cut_to_seventy_percent_is_certified(real_model: Any, data: Any) -> None:
    model, tokenizer = load(real_model).float().eval(), load_tokenizer(real_model)
    rows = [{"input_ids": tokenizer(x).input_ids, "labels": tokenizer(y).input_ids} for x, y in zip(*data, strict=True)]
    batch = Collate(tokenizer.pad_token_id)(rows)
    assert not bool(batch["attention_mask"].all())
    kinds = ["ffn", "heads", "qk", "vo", "width"]
    plan = random_kept(model, make_plan(model, "marian", couplings(model, kinds)), share=0.7)
    small = shrink(model, plan)
    certificate = certify(model, plan, small, batch)
    assert max(certificate.forward, certificate.generation) <= 1e-5
    assert sum(p.numel() for p in small.parameters()) < 0.75 * sum(p.numel() for p in model.parameters())
