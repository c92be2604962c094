"""Small pruned models of several heads, which lost a random part of every coupling at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel, ViTConfig, ViTForImageClassification

from small_models import small_model
from small_tasks import classifier, tagger
from table_models import BERT, table_model
from tprune.core.plan import make_plan
from tprune.families.registry import couplings, family_of
from tprune.realise.shrink import shrink
from tprune.testing import random_kept, randomise_


def pruned(model: Any, *kinds: str) -> Any:
    """A smaller model, in single precision."""
    plan = make_plan(model, family_of(model).name, couplings(model, kinds or None))
    small = shrink(model, random_kept(model, plan)).float().eval()
    assert isinstance(small, PreTrainedModel)
    return small


def decoder(name: str = "llama", *kinds: str) -> Any:
    return pruned(table_model(name), *kinds)


def translator(*kinds: str) -> Any:
    return pruned(small_model("marian"), *kinds)


def seer(*kinds: str) -> Any:
    torch.manual_seed(0)
    sizes = {key: BERT[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")}
    model = ViTForImageClassification(ViTConfig(**sizes, image_size=8, patch_size=4, num_labels=3)).double().eval()
    randomise_(model)
    return pruned(model, *kinds)


MODELS: dict[str, Callable[..., Any]] = {
    "marian": translator,
    "bert": lambda *kinds: pruned(classifier().double(), *kinds),
    "tagger": lambda *kinds: pruned(tagger().double(), *kinds),
    "vit": seer,
    "llama": lambda *kinds: decoder("llama", *kinds),
    "gpt2": lambda *kinds: decoder("gpt2", *kinds),
    "qwen3": lambda *kinds: decoder("qwen3", *kinds),
}


def ids(model: Any, rows: int = 2, length: int = 8) -> dict[str, torch.Tensor]:
    """Token ids, the second row padded on the left."""
    tokens = torch.randint(3, 40, (rows, length), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(tokens)
    mask[1, :3] = 0
    return {"input_ids": tokens * mask, "attention_mask": mask}
