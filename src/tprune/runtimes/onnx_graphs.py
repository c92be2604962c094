"""The two graphs of an exported translation model, as plain torch over the model's own submodules.

Marian and BART have post-norm layers, `x = LN(x + sublayer(x))`. Every size is read from the weights, so pruned shapes
(fewer heads, unequal widths of q/k and v, a narrower residual) need no case of their own.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tprune.runtimes.onnx_folder import LayerCache

Tensors = Sequence[Tensor]
MASKED = -1e9  # added to the scores of padding; exp() of it is exactly 0 in float32


def removed(module: nn.Module) -> bool:
    """Whether the pruning took this sublayer away."""
    return bool(getattr(module, "removed", False))


def cross_layers(model: Any) -> list[tuple[int, Any]]:
    """Number and module of every cross attention that is left."""
    return [(i, x.encoder_attn) for i, x in enumerate(model.model.decoder.layers) if not removed(x.encoder_attn)]


def self_layers(model: Any) -> list[tuple[int, Any]]:
    """Number and module of every decoder self-attention that is left."""
    return [(i, x.self_attn) for i, x in enumerate(model.model.decoder.layers) if not removed(x.self_attn)]


def _heads(x: Tensor, attention: Any) -> Tensor:
    """`[B, T, h*d]` to `[B, h, T, d]`."""
    return x.view(x.shape[0], x.shape[1], attention.num_heads, -1).transpose(1, 2)


def _attend(attention: Any, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    scores = (_heads(attention.q_proj(x), attention) * attention.scaling) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask
    mixed: Tensor = attention.out_proj((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))
    return mixed


def _left(attention: Any, x: Tensor) -> Tensor | float:
    """What a removed attention still adds to the residual: nothing, or the bias of its output projection."""
    project = getattr(attention, "out_proj", None)
    return 0.0 if project is None else project(x)


def _feed_forward(layer: Any, x: Tensor) -> Tensor:
    inner = x if removed(layer.fc1) else layer.activation_fn(layer.fc1(x))
    out: Tensor = layer.final_layer_norm(x + layer.fc2(inner))
    return out


def _embed(stack: Any, ids: Tensor, positions: Tensor) -> Tensor:
    # BART's embedding multiplies by its scale itself and keeps none on the stack
    x: Tensor = stack.embed_tokens(ids) * getattr(stack, "embed_scale", 1.0) + positions
    norm = getattr(stack, "layernorm_embedding", None)
    return x if norm is None else norm(x)


def _additive(attention_mask: Tensor, like: Tensor) -> Tensor:
    return (1.0 - attention_mask[:, None, None, :].to(like.dtype)) * MASKED


class Encoder(nn.Module):
    """Source tokens to the cross keys and values of every decoder layer that attends to them.

    `input_ids` and `attention_mask` are `[B, S]` int64; each result is `[B, h, S, d]`, keys and values in turn.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        stack = self.model.model.encoder
        offset = getattr(stack.embed_positions, "offset", 0)
        x = _embed(stack, input_ids, stack.embed_positions.weight[offset : offset + input_ids.shape[1]])
        mask = _additive(attention_mask, x)
        for layer in stack.layers:
            attention = layer.self_attn
            if removed(attention):
                x = layer.self_attn_layer_norm(x + _left(attention, x))
            else:
                key, value = _heads(attention.k_proj(x), attention), _heads(attention.v_proj(x), attention)
                x = layer.self_attn_layer_norm(x + _attend(attention, x, key, value, mask))
            x = _feed_forward(layer, x)
        crossing: list[Tensor] = []
        for _, attention in cross_layers(self.model):
            crossing += [_heads(attention.k_proj(x), attention), _heads(attention.v_proj(x), attention)]
        return tuple(crossing)


class DecoderStep(nn.Module):
    """One token further: logits `[B, V]` and the grown self-attention caches.

    `input_ids` `[B, 1]`, `position` `[1]` (how many tokens went before), `attention_mask` `[B, S]`, `cross` as the
    encoder gives it, `past` keys and values in turn, each `[B, h, T, d]` with T = `position`.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, position: Tensor, attention_mask: Tensor, cross: Tensors, past: Tensors
    ) -> tuple[Tensor, ...]:
        """See the class."""
        stack = self.model.model.decoder
        offset = getattr(stack.embed_positions, "offset", 0)
        x = _embed(stack, input_ids, torch.index_select(stack.embed_positions.weight, 0, position + offset))
        mask = _additive(attention_mask, x)
        crossing, before = iter(cross), iter(past)
        present: list[Tensor] = []
        for layer in stack.layers:
            x = layer.self_attn_layer_norm(x + self._look_back(layer.self_attn, x, before, present))
            if removed(layer.encoder_attn):
                x = layer.encoder_attn_layer_norm(x + _left(layer.encoder_attn, x))
            else:
                attended = _attend(layer.encoder_attn, x, next(crossing), next(crossing), mask)
                x = layer.encoder_attn_layer_norm(x + attended)
            x = _feed_forward(layer, x)
        logits = self.model.lm_head(x) + self.model.final_logits_bias
        return (logits[:, -1], *present)

    @staticmethod
    def _look_back(attention: Any, x: Tensor, before: Iterator[Tensor], present: list[Tensor]) -> Tensor | float:
        if removed(attention):
            return _left(attention, x)
        key = torch.cat([next(before), _heads(attention.k_proj(x), attention)], 2)
        value = torch.cat([next(before), _heads(attention.v_proj(x), attention)], 2)
        present += [key, value]
        return _attend(attention, x, key, value, None)


def layer_caches(layers: Sequence[tuple[int, Any]], tensors: Sequence[Tensor]) -> tuple[LayerCache, ...]:
    """The cache layout of `layers`, read from their keys and values (in turn, `[B, h, T, d]`)."""
    pairs = zip(layers, tensors[::2], tensors[1::2], strict=True)
    return tuple(LayerCache(number, key.shape[1], key.shape[3], value.shape[3]) for (number, _), key, value in pairs)


def write_graphs(model: Any, folder: Path) -> tuple[tuple[LayerCache, ...], tuple[LayerCache, ...]]:
    """Writes `encoder.onnx` and `decoder.onnx`; returns the layout of the cross and of the past caches."""
    encoder, decoder = Encoder(model).eval(), DecoderStep(model).eval()
    # sizes 0 and 1 are treated as constants by torch.export, so the example uses larger ones that all differ
    batch, source, target = 2, 5, 3
    ids, mask = torch.zeros(batch, source, dtype=torch.long), torch.ones(batch, source, dtype=torch.long)
    one, position = torch.zeros(batch, 1, dtype=torch.long), torch.tensor([target])
    with torch.no_grad():
        cross_tensors = encoder(ids, mask)
        before = torch.zeros(batch, target, model.model.decoder.embed_positions.weight.shape[1])
        past_tensors = tuple(
            _heads(project(before), attention)
            for _, attention in self_layers(model)
            for project in (attention.k_proj, attention.v_proj)
        )
        cross, past = layer_caches(cross_layers(model), cross_tensors), layer_caches(self_layers(model), past_tensors)
        free = torch.export.Dim.DYNAMIC
        cross_names = [name for layer in cross for name in layer.names("cross")]
        _write(
            encoder, (ids, mask), folder / "encoder.onnx", ["input_ids", "attention_mask"], cross_names,
            ({0: free, 1: free}, {0: free, 1: free}),
        )  # fmt: skip
        cache_shapes = tuple(tuple({0: free, 2: free} for _ in caches) for caches in (cross_tensors, past_tensors))
        past_names = [name for layer in past for name in layer.names("past")]
        _write(
            decoder, (one, position, mask, cross_tensors, past_tensors), folder / "decoder.onnx",
            ["input_ids", "position", "attention_mask", *cross_names, *past_names],
            ["logits", *(name for layer in past for name in layer.names("present"))],
            ({0: free}, {}, {0: free, 1: free}, *cache_shapes),
        )  # fmt: skip
    return cross, past


def _write(
    graph: nn.Module,
    example: tuple[Any, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    shapes: tuple[Any, ...],
) -> None:
    with _quiet():
        torch.onnx.export(
            graph, example, path, input_names=inputs, output_names=outputs, dynamic_shapes=shapes,
            dynamo=True, verbose=False, external_data=False,
        )  # fmt: skip


@contextmanager
def _quiet() -> Iterator[None]:
    """Drops the exporter's chatter (deprecations, "torchvision is not installed"); errors are raised as ever."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
