"""ViT and DeiT: the bare encoder, classifiers, and models of masked images. Pre-norm; patches, tokens and positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn
from transformers import (
    DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher,
    DeiTForMaskedImageModeling,
    DeiTModel,
    PreTrainedModel,
    ViTForImageClassification,
    ViTForMaskedImageModeling,
    ViTModel,
)
from transformers.models.deit.modeling_deit import DeiTPreTrainedModel
from transformers.models.vit.modeling_vit import ViTPreTrainedModel

from tprune.core.sites import ENCODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.core.views import View, bias, consumer, producer
from tprune.families.attention import Attention, Projections, Reads
from tprune.families.encoder_heads import Head, head_of, root_of
from tprune.families.feed_forward import FeedForward
from tprune.families.residual import Residual
from tprune.families.rows import Row, gone
from tprune.families.table import Table

READS = Reads(dim="head_dim", heads="num_attention_heads")
CLASSIFIER = Head(readers=("classifier",))
PIXELS = Head(tensors=(consumer("decoder.0.weight", "o u y x -> u"),))
HEADS: Mapping[type[nn.Module], Head] = {
    ViTModel: Head(),
    ViTForImageClassification: CLASSIFIER,
    ViTForMaskedImageModeling: PIXELS,
    DeiTModel: Head(),
    DeiTForImageClassification: CLASSIFIER,
    DeiTForImageClassificationWithTeacher: Head(readers=("cls_classifier", "distillation_classifier")),
    DeiTForMaskedImageModeling: PIXELS,
}
TOKENS = ("cls_token", "distillation_token", "mask_token")  # those that a model has


def rows(model: PreTrainedModel) -> Iterator[Row]:
    """Two rows a layer, and the residual stream where the head is known."""
    layers = [f"{root_of(model)}layers.{number}" for number in range(model.config.num_hidden_layers)]
    for number, layer in enumerate(layers):
        module, mlp = f"{layer}.attention", f"{layer}.mlp"
        if not gone(model, module):
            heads = int(model.get_submodule(module).num_attention_heads)
            maps = Projections(*(f"{module}.{name}" for name in ("q_proj", "k_proj", "v_proj", "o_proj")))
            yield Attention(Site(ENCODER, number, SELF_ATTENTION), module, maps, heads, heads, READS)
        yield FeedForward(Site(ENCODER, number, FEED_FORWARD), mlp, (f"{mlp}.fc1",), f"{mlp}.fc2")
    head = head_of(model, HEADS)
    if head is not None:
        yield stream(model, layers, head)


def stream(model: PreTrainedModel, layers: list[str], head: Head) -> Residual:
    """The residual stream. A classifier without classes reads nothing of it."""
    root, maps = root_of(model), ("attention.q_proj", "attention.k_proj", "attention.v_proj", "mlp.fc1")
    pooler = (f"{root}pooler.dense",) if getattr(model.base_model, "pooler", None) is not None else ()
    heads = (name for name in head.readers if isinstance(model.get_submodule(name), nn.Linear))
    norms = ("layernorm_before", "layernorm_after")
    return Residual(
        (),
        (*(f"{layer}.{norm}" for layer in layers for norm in norms), f"{root}layernorm"),
        tuple(f"{layer}.{name}" for layer in layers for name in ("attention.o_proj", "mlp.fc2")),
        (*(f"{layer}.{name}" for layer in layers for name in maps), *pooler, *heads),
        tensors=(*_embeddings(model, f"{root}embeddings"), *head.tensors),
    )


def _embeddings(model: PreTrainedModel, module: str) -> Iterator[View]:
    """Patches, tokens and positions."""
    patches, held = f"{module}.patch_embeddings.projection", model.get_submodule(module)
    yield producer(f"{patches}.weight", "u i y x -> u")
    yield bias(f"{patches}.bias", "u -> u")
    for token in TOKENS:
        if getattr(held, token, None) is not None:
            yield producer(f"{module}.{token}", "a b u -> u")
    yield producer(f"{module}.position_embeddings", "a p u -> u")


VIT = Table("vit", lambda model: isinstance(model, ViTPreTrainedModel), rows)
DEIT = Table("deit", lambda model: isinstance(model, DeiTPreTrainedModel), rows)
