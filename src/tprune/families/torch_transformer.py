"""Layers of `torch.nn.Transformer`, `nn.TransformerEncoder` and `nn.TransformerDecoder`, in a model of any class.

The width of the residual stream cannot be cut: what is outside the layers writes and reads it. Maps have no lines:
torch's fused code for layers that evaluate takes weights out of their maps. Where an attention is cut, or a block has
nothing left, that code is switched off. Attentions whose keys or values have widths of their own, or constant rows, are
left alone, and so are layers of classes with a `forward` of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from tprune.core.sites import CROSS_ATTENTION, DECODER, ENCODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.beside import Beside
from tprune.families.feed_forward import FeedForward
from tprune.families.modeling.modeling_multihead import MultiheadAttention
from tprune.families.modeling.modeling_pruned import Sizes
from tprune.families.packed import PackedAttention
from tprune.families.rows import Row, gone
from tprune.families.table import Table

LAYERS = {ENCODER: nn.TransformerEncoderLayer, DECODER: nn.TransformerDecoderLayer}
ATTENTIONS = {"self_attn": SELF_ATTENTION, "multihead_attn": CROSS_ATTENTION}
UNFUSED = {"activation_relu_or_gelu": 0}  # by which torch's fused code for a layer is switched off
UNNESTED = {"use_nested_tensor": 0}  # likewise that of a stack, which reads its first layer


def layers(model: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """Stack, name and module of every layer whose code is torch's."""
    for stack, kind in LAYERS.items():
        for name, module in model.named_modules():
            if isinstance(module, kind) and type(module).forward is kind.forward:
                yield stack, name, module


def belongs(model: nn.Module) -> bool:
    """Whether it has such layers."""
    return any(True for _ in layers(model))


def rows(model: nn.Module) -> Iterator[Row]:
    """The attentions and the feed-forward block of every layer; layers are numbered over the whole model."""
    numbers = dict.fromkeys(LAYERS, 0)
    for stack, layer, held in layers(model):
        number = numbers[stack]
        numbers[stack] += 1
        off = {layer: UNFUSED, **_stack_of(model, layer)} if stack == ENCODER else {}
        for attribute, block in ATTENTIONS.items():
            attention, module = getattr(held, attribute, None), f"{layer}.{attribute}".removeprefix(".")
            if attention is not None and _packed(attention) and not gone(model, module):
                yield Beside(PackedAttention(Site(stack, number, block), module, sizes(attention)), off)
        up, down = (f"{layer}.linear{which}".removeprefix(".") for which in (1, 2))
        units = FeedForward(Site(stack, number, FEED_FORWARD), up, (up,), down, layer=layer or stack)
        yield Beside(units, off)


def sizes(attention: Any) -> Sizes:
    """Heads and their dimensions, of torch's attention or of what is left of it."""
    heads = int(attention.num_heads)
    if isinstance(attention, MultiheadAttention):
        return Sizes(heads, heads, attention.qk, attention.v)
    return Sizes(heads, heads, attention.head_dim, attention.head_dim)


def _packed(attention: Any) -> bool:
    if isinstance(attention, MultiheadAttention):
        return True
    whole = attention.bias_k is None and attention.bias_v is None and not attention.add_zero_attn
    return bool(attention._qkv_same_embed_dim and whole)


def _stack_of(model: nn.Module, layer: str) -> dict[str, dict[str, int]]:
    """What switches the fused code of the stack off that holds a layer."""
    holders = {name: held for name, held in model.named_modules() if isinstance(held, nn.TransformerEncoder)}
    return {name: UNNESTED for name in holders if layer.rpartition(".")[0] == f"{name}.layers".removeprefix(".")}


TORCH_TRANSFORMER = Table("torch_transformer", belongs, rows, lines=False)
