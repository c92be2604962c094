"""CLIP: its two towers together or each by itself, with a residual stream each.

The dimensions in which texts and images are compared are what the model says, and are left whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn
from transformers import (
    CLIPForImageClassification,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)
from transformers.models.clip.modeling_clip import CLIPPreTrainedModel

from tprune.core.sites import FEED_FORWARD, RESIDUAL, SELF_ATTENTION, WHOLE_MODEL, Site
from tprune.core.views import View, producer
from tprune.families.attention import Attention, Projections, Reads
from tprune.families.feed_forward import FeedForward
from tprune.families.residual import Residual
from tprune.families.rows import Row, gone
from tprune.families.table import Table

READS = Reads(dim="head_dim", heads="num_heads")


@dataclass(frozen=True)
class Tower:
    """One of the two encoders of a model.

    Attributes:
        stack: what its sites call it.
        module: the encoder; empty where it is the model itself.
        readers: linear maps of the model that read its stream.
    """

    stack: str
    module: str
    readers: tuple[str, ...] = ()

    @property
    def root(self) -> str:
        """What names of its modules begin with."""
        return f"{self.module}." if self.module else ""


TEXT, VISION = "text", "vision"
TOWERS: Mapping[type[nn.Module], tuple[Tower, ...]] = {
    CLIPModel: (
        Tower(TEXT, "text_model", ("text_projection",)),
        Tower(VISION, "vision_model", ("visual_projection",)),
    ),
    CLIPTextModel: (Tower(TEXT, ""),),
    CLIPVisionModel: (Tower(VISION, ""),),
    CLIPTextModelWithProjection: (Tower(TEXT, "text_model", ("text_projection",)),),
    CLIPVisionModelWithProjection: (Tower(VISION, "vision_model", ("visual_projection",)),),
    CLIPForImageClassification: (Tower(VISION, "vision_model", ("classifier",)),),
}


def rows(model: CLIPPreTrainedModel) -> Iterator[Row]:
    """Two rows a layer of every tower, and its residual stream."""
    towers = next((TOWERS[kind] for kind in type(model).__mro__ if kind in TOWERS), ())
    for tower in towers:
        layers = layers_of(model, tower)
        for number, layer in enumerate(layers):
            module, mlp = f"{layer}.self_attn", f"{layer}.mlp"
            if not gone(model, module):
                heads = int(model.get_submodule(module).num_heads)
                maps = Projections(*(f"{module}.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")))
                yield Attention(Site(tower.stack, number, SELF_ATTENTION), module, maps, heads, heads, READS)
            yield FeedForward(Site(tower.stack, number, FEED_FORWARD), mlp, (f"{mlp}.fc1",), f"{mlp}.fc2")
        yield stream(model, tower, layers, alone=len(towers) == 1)


def stream(model: CLIPPreTrainedModel, tower: Tower, layers: list[str], alone: bool) -> Residual:
    """The residual stream of a tower, which is that of the model where there is no other."""
    maps = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.fc1")
    norms = (f"{layer}.{norm}" for layer in layers for norm in ("layer_norm1", "layer_norm2"))
    tables, ends, tensors = _text(tower) if tower.stack == TEXT else _vision(tower)
    heads = (name for name in tower.readers if isinstance(model.get_submodule(name), nn.Linear))
    return Residual(
        tables,
        (*norms, *ends),
        tuple(f"{layer}.{name}" for layer in layers for name in ("self_attn.out_proj", "mlp.fc2")),
        (*(f"{layer}.{name}" for layer in layers for name in maps), *heads),
        tensors=tensors,
        name="width" if alone else f"{tower.module}.width",
        site=WHOLE_MODEL if alone else Site(tower.stack, None, RESIDUAL),
    )


Ends = tuple[tuple[str, ...], tuple[str, ...], tuple[View, ...]]  # embeddings, norms outside the layers, other tensors


def _text(tower: Tower) -> Ends:
    embeddings = f"{tower.root}embeddings"
    tables = (f"{embeddings}.token_embedding", f"{embeddings}.position_embedding")
    return tables, (f"{tower.root}final_layer_norm",), ()


def _vision(tower: Tower) -> Ends:
    embeddings = f"{tower.root}embeddings"
    tensors = (
        producer(f"{embeddings}.class_embedding", "u -> u"),
        producer(f"{embeddings}.patch_embedding.weight", "u i y x -> u"),
    )
    norms = (f"{tower.root}pre_layrnorm", f"{tower.root}post_layernorm")  # the first as transformers spells it
    return (f"{embeddings}.position_embedding",), norms, tensors


def layers_of(model: CLIPPreTrainedModel, tower: Tower) -> list[str]:
    """The layers of a tower."""
    layers = model.get_submodule(f"{tower.root}encoder.layers")
    return [f"{tower.root}encoder.layers.{number}" for number, _ in enumerate(layers.children())]


def belongs(model: nn.Module) -> bool:
    """Whether it is a model with a configuration of both towers."""
    return isinstance(model, CLIPPreTrainedModel) and not (of_text(model) or of_vision(model))


def of_text(model: nn.Module) -> bool:
    """Whether it is the tower of texts alone."""
    return isinstance(model, CLIPPreTrainedModel) and isinstance(model.config, CLIPTextConfig)


def of_vision(model: nn.Module) -> bool:
    """Whether it is the tower of images alone."""
    return isinstance(model, CLIPPreTrainedModel) and isinstance(model.config, CLIPVisionConfig)


CLIP = Table("clip", belongs, rows)
CLIP_TEXT = Table("clip_text_model", of_text, rows)
CLIP_VISION = Table("clip_vision_model", of_vision, rows)
