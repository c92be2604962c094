"""Small pruned models of several heads, which lost a random part of every coupling at once."""

from __future__ import annotations

from typing import Any

import encoders
import torch
from transformers import PreTrainedModel

from small_models import small_model
from small_tasks import classifier, tagger
from table_models import table_model
from tprune.core.plan import make_plan
from tprune.families.registry import couplings, family_of
from tprune.realise.shrink import shrink
from tprune.testing import random_kept


def pruned(model: Any, *kinds: str) -> Any:
    """A smaller model, in single precision."""
    plan = make_plan(model, family_of(model).name, couplings(model, kinds or None))
    small = shrink(model, random_kept(model, plan)).float().eval()
    assert isinstance(small, PreTrainedModel)
    return small


def decoder(name: str = "llama", *kinds: str) -> Any:
    return pruned(table_model(name), *kinds)


def translator() -> Any:
    return pruned(small_model("marian"))


def seer() -> Any:
    return pruned(encoders.encoder("ViTForImageClassification"))


MODELS = {
    "marian": translator,
    "bert": lambda: pruned(classifier().double()),
    "tagger": lambda: pruned(tagger().double()),
    "vit": seer,
    "llama": decoder,
    "gpt2": lambda: decoder("gpt2"),
    "qwen3": lambda: decoder("qwen3"),
}


def ids(model: Any, rows: int = 2, length: int = 8) -> dict[str, torch.Tensor]:
    """Token ids, the second row padded on the left."""
    tokens = torch.randint(3, 40, (rows, length), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(tokens)
    mask[1, :3] = 0
    return {"input_ids": tokens * mask, "attention_mask": mask}
