"""What CTranslate2 cannot run of a pruned model, and the nearest that it can. Needs no ctranslate2.

Its decoder and its encoder have one number of heads each, for all their attentions; an attention has one width of a
head, for queries, keys and values; norms are over the whole residual.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from transformers import BartForConditionalGeneration, MarianMTModel

from tprune.core.sites import DECODER, ENCODER
from tprune.families.graphs.removed import removed
from tprune.families.modeling.modeling_pruned import Gathered, NarrowLayerNorm
from tprune_runtime.generation import Generation

CLASSES = (MarianMTModel, BartForConditionalGeneration)  # whose layers are written for it
ACTIVATIONS = {"relu": "RELU", "gelu": "GELU", "gelu_new": "GELUTanh", "swish": "SWISH", "silu": "SWISH"}


@dataclass(frozen=True)
class Attention:
    """What is left of an attention: no heads where it is removed; dimensions of a head of queries and keys, values."""

    name: str
    heads: int
    qk: int = 0
    v: int = 0


def attentions(model: Any, stack: str) -> list[Attention]:
    """All attentions of a stack, the removed ones too."""
    found = []
    for number, layer in enumerate(getattr(model.model, stack).layers):
        for attribute in ("self_attn", "encoder_attn"):
            module = getattr(layer, attribute, None)
            if module is None:
                continue
            name = f"model.{stack}.layers.{number}.{attribute}"
            if removed(module):
                found.append(Attention(name, 0))
            else:
                widths = (outputs(part) // module.num_heads for part in (module.q_proj, module.v_proj))
                found.append(Attention(name, int(module.num_heads), *widths))
    return found


def outputs(linear: Any) -> int:
    """How many outputs a linear map has."""
    return int(linear.out_features)


def faults(model: Any, generation: Generation) -> Iterator[str]:
    """Each thing that it cannot run: where, what was found, what it needs, and the nearest that it can run."""
    if not isinstance(model, CLASSES):
        known = " or a ".join(one.__name__ for one in CLASSES)
        yield f"layers of this class have no counterpart there; expected a {known}"
        return
    for stack in (ENCODER, DECODER):
        yield from uneven(stack, attentions(model, stack))
    for name, module in model.named_modules():
        if isinstance(module, NarrowLayerNorm):
            yield (
                f"{name} is over {module.weight.shape[0]} of {module.dense} dimensions of the residual; expected all "
                f"of them; the nearest that it runs: width {module.dense}"
            )
            break
    for name, module in model.named_modules():
        if isinstance(module, Gathered):
            yield (
                f"{name} reads or writes some of its lines only; expected whole matrices; the nearest that it runs: "
                f"all {module.in_features} inputs and {module.out_features} outputs"
            )
            break
    if (activation := model.config.activation_function) not in ACTIVATIONS:
        yield f"activation {activation}; expected one of {', '.join(ACTIVATIONS)}"
    yield from _settings(generation)


def uneven(stack: str, found: list[Attention]) -> Iterator[str]:
    """What the attentions of a stack may not differ in."""
    counts = [attention.heads for attention in found]
    most = max(counts)
    if min(counts) < most:
        least = next(attention for attention in found if attention.heads == min(counts))
        other = next(attention for attention in found if attention.heads == most)
        left = f"has {least.heads} head{'s' * (least.heads != 1)}" if least.heads else "is removed"
        within = f"{least.heads} in each (within this plan) or " if least.heads else ""
        yield (
            f"{least.name} {left}, {other.name} {most}; expected as many in all {len(found)} attentions of the "
            f"{stack}; the nearest that it runs: {within}{most} in each"
        )
    elif not most:
        yield f"all attentions of the {stack} are removed; expected heads; the nearest that it runs: 1 head in each"
    for attention in found:
        if attention.qk != attention.v:
            few, many = sorted((attention.qk, attention.v))
            yield (
                f"{attention.name} has {attention.qk} query-key and {attention.v} value dimensions of a head; "
                f"expected as many of both; the nearest that it runs: {few} (within this plan) or {many} of both"
            )
            break


def _settings(g: Generation) -> Iterator[str]:
    """What of a model's decoding its search has no counterpart of."""
    if g.repetition_penalty != 1:
        yield f"repetition_penalty {g.repetition_penalty:g}; its own is another one; expected 1"
    if g.forced_bos_token_id is not None:
        yield f"forced_bos_token_id {g.forced_bos_token_id}; expected none"
    if g.max_length - 1 - bool(g.forced_eos_token_id) < 1:
        yield f"max_length {g.max_length}; expected room for a token before the forced end"
