"""A decoder as its graph sees it, whatever its class calls its modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from transformers import (
    Gemma2ForCausalLM,
    GemmaForCausalLM,
    GPTNeoXForCausalLM,
    LlamaForCausalLM,
    MistralForCausalLM,
    Phi3ForCausalLM,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
)

from tprune.families.graphs.decoder_attention import INTERLEAVED, NORMED, PACKED, SEPARATE, AttentionMaps
from tprune.families.graphs.removed import removed


@dataclass(frozen=True)
class DecoderBlock:
    """An attention or a feed-forward block.

    Attributes:
        module: the block; it has `removed` where nothing is left.
        output: the name of its output map.
        norm: of what it reads.
        norm_of_output: of what it adds; None where there is none.
    """

    module: Any
    output: str
    norm: nn.Module
    norm_of_output: nn.Module | None

    @property
    def removed(self) -> bool:
        """Whether nothing is left."""
        return removed(self.module)


@dataclass(frozen=True)
class DecoderLayer:
    """A layer.

    Attributes:
        attention: the block.
        maps: its linear maps.
        feed_forward: the block.
        window: how many tokens its attention reads, the own one among them; None for all.
        parallel: whether both blocks read the same stream, and not one what the other adds.
    """

    attention: DecoderBlock
    maps: AttentionMaps
    feed_forward: DecoderBlock
    window: int | None
    parallel: bool


@dataclass(frozen=True)
class DecoderParts:
    """A whole model.

    Attributes:
        words: the embedding of tokens.
        rotary: the module of rotations.
        layers: in order.
        norm: of what the last layer gives.
        logit_cap: that logits are limited to; None for no limit.
        score_cap: likewise for the scores of attentions.
    """

    words: nn.Module
    rotary: Any
    layers: tuple[DecoderLayer, ...]
    norm: nn.Module
    logit_cap: float | None = None
    score_cap: float | None = None


@dataclass(frozen=True)
class DecoderNames:
    """What a class of decoders calls its modules.

    Attributes:
        stack: what holds embedding, rotations, layers and the last norm.
        words: the embedding of tokens.
        norm: of what the last layer gives.
        attention: of a layer.
        maps: the linear maps of the attention.
        down: the output map of the feed-forward block `mlp`.
        norms: of what attention and feed-forward block read.
        norms_of_outputs: of what they add; None where there are none.
    """

    stack: str = "model"
    words: str = "embed_tokens"
    norm: str = "norm"
    attention: str = "self_attn"
    maps: AttentionMaps = SEPARATE
    down: str = "down_proj"
    norms: tuple[str, str] = ("input_layernorm", "post_attention_layernorm")
    norms_of_outputs: tuple[str, str] | None = None


LIKE_LLAMA = DecoderNames()
LIKE_GEMMA_2 = DecoderNames(
    norms=("input_layernorm", "pre_feedforward_layernorm"),
    norms_of_outputs=("post_attention_layernorm", "post_feedforward_layernorm"),
)
LIKE_GPT_NEOX = DecoderNames(
    stack="gpt_neox",
    words="embed_in",
    norm="final_layer_norm",
    attention="attention",
    maps=INTERLEAVED,
    down="dense_4h_to_h",
)
NAMES: Mapping[type[nn.Module], DecoderNames] = {
    LlamaForCausalLM: LIKE_LLAMA,
    MistralForCausalLM: LIKE_LLAMA,
    Qwen2ForCausalLM: LIKE_LLAMA,
    GemmaForCausalLM: LIKE_LLAMA,
    Qwen3ForCausalLM: replace(LIKE_LLAMA, maps=NORMED),
    Phi3ForCausalLM: replace(LIKE_LLAMA, maps=PACKED),
    Gemma2ForCausalLM: LIKE_GEMMA_2,
    GPTNeoXForCausalLM: LIKE_GPT_NEOX,
}


def decoder_of(model: Any) -> DecoderParts:
    """The parts of a model of a class in `NAMES`, or of a subclass, as pruned ones are."""
    names = next(names for known, names in NAMES.items() if isinstance(model, known))
    stack, config = getattr(model, names.stack), model.config
    layers = tuple(_layer(layer, names, _window(config, number)) for number, layer in enumerate(stack.layers))
    return DecoderParts(
        words=getattr(stack, names.words),
        rotary=stack.rotary_emb,
        layers=layers,
        norm=getattr(stack, names.norm),
        logit_cap=getattr(config, "final_logit_softcapping", None),
        score_cap=getattr(config, "attn_logit_softcapping", None),
    )


def _window(config: Any, number: int) -> int | None:
    """What the attention of a layer reads."""
    kinds = getattr(config, "layer_types", None)
    window: int | None = getattr(config, "sliding_window", None)
    return window if kinds is None or kinds[number] == "sliding_attention" else None


def _layer(layer: Any, names: DecoderNames, window: int | None) -> DecoderLayer:
    norms = [getattr(layer, name) for name in names.norms]
    after = [None, None] if names.norms_of_outputs is None else [getattr(layer, one) for one in names.norms_of_outputs]
    attention = DecoderBlock(getattr(layer, names.attention), names.maps.output, norms[0], after[0])
    feed_forward = DecoderBlock(layer.mlp, names.down, norms[1], after[1])
    return DecoderLayer(
        attention, names.maps, feed_forward, window, bool(getattr(layer, "use_parallel_residual", False))
    )
