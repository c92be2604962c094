"""The two graphs of an exported translation model, as plain torch over the model's own submodules.

Marian and BART have post-norm layers, `x = LN(x + sublayer(x))`. Every size is read from the weights, so pruned shapes
(fewer heads, unequal widths of q/k and v, a narrower residual) need no case of their own.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx import ops

from tprune.core.caches import Caches, LayerCache

Tensors = Sequence[Tensor]
OPSET = 23  # the first with an operator for attention
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


def _heads(x: Tensor, heads: int) -> Tensor:
    """`[B, T, h*d]` to `[B, h, T, d]`."""
    return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


class Projections(nn.Module):
    """Some of `q_proj`, `k_proj`, `v_proj` of an attention as one product, the queries already scaled.

    At batch 1 an operator costs about as much as its arithmetic; matrices between gathers stay apart.
    """

    def __init__(self, attention: Any, *names: str) -> None:
        super().__init__()
        maps = [getattr(attention, name) for name in names]
        self.maps = nn.ModuleList(maps)
        self.scales = [attention.scaling if name == "q_proj" else 1.0 for name in names]
        self.fused: nn.Linear | None = None
        if all(isinstance(one, nn.Linear) for one in maps):
            self.sizes = [one.out_features for one in maps]
            self.fused = nn.Linear(maps[0].in_features, sum(self.sizes))
            for name in ("weight", "bias"):
                parts = [getattr(one, name).detach() * scale for one, scale in zip(maps, self.scales, strict=True)]
                setattr(self.fused, name, nn.Parameter(torch.cat(parts)))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """One tensor a name."""
        if self.fused is None:
            return tuple(one(x) * scale for one, scale in zip(self.maps, self.scales, strict=True))
        parts: tuple[Tensor, ...] = self.fused(x).split(self.sizes, -1)
        return parts


def _mix(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *past: Tensor) -> tuple[Tensor, ...]:
    """Attention of `[B, h, T, d]` tensors, one operator of ONNX; with past keys and values also the grown ones."""
    if not torch.compiler.is_exporting():
        return ops.attention(query, key, value, mask, *past, scale=1.0)[:3]
    # while tracing, torch's own `attention` takes values to be as wide as queries
    shapes = [[*query.shape[:3], value.shape[3]]]
    for fresh, before in zip((key, value), past, strict=False):
        shapes.append([*fresh.shape[:2], before.shape[2] + fresh.shape[2], fresh.shape[3]])
    inputs, types = [query, key, value, mask, *past], [query.dtype] * len(shapes)
    return tuple(
        ops.symbolic_multi_out("Attention", inputs, {"scale": 1.0}, dtypes=types, shapes=shapes, version=OPSET)
    )


def _left(attention: Any, x: Tensor) -> Tensor | float:
    """What a removed attention still adds to the residual: nothing, or the bias of its output projection."""
    project = getattr(attention, "out_proj", None)
    return 0.0 if project is None else project(x)


def _feed_forward(layer: Any, x: Tensor) -> Tensor:
    inner = x if removed(layer.fc1) else layer.activation_fn(layer.fc1(x))
    out: Tensor = layer.final_layer_norm(x + layer.fc2(inner))
    return out


def _embed(stack: Any, words: Tensor, positions: Tensor) -> Tensor:
    # BART's embedding multiplies by its scale itself and keeps none on the stack
    x: Tensor = words * getattr(stack, "embed_scale", 1.0) + positions
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
        own = [layer.self_attn for layer in model.model.encoder.layers]
        self.own = nn.ModuleList(_unless_removed(attention, "q_proj", "k_proj", "v_proj") for attention in own)
        self.cross = nn.ModuleList(Projections(attention, "k_proj", "v_proj") for _, attention in cross_layers(model))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        stack = self.model.model.encoder
        offset = getattr(stack.embed_positions, "offset", 0)
        place = stack.embed_positions.weight[offset : offset + input_ids.shape[1]]
        x = _embed(stack, stack.embed_tokens(input_ids), place)
        mask = _additive(attention_mask, x).expand(-1, -1, x.shape[1], -1)  # onnxruntime wants a row for each query
        for layer, projections in zip(stack.layers, self.own, strict=True):
            attention = layer.self_attn
            if removed(attention):
                x = layer.self_attn_layer_norm(x + _left(attention, x))
            else:
                query, key, value = (_heads(each, attention.num_heads) for each in projections(x))
                mixed = _mix(query, key, value, mask)[0].transpose(1, 2).flatten(2)
                x = layer.self_attn_layer_norm(x + attention.out_proj(mixed))
            x = _feed_forward(layer, x)
        crossing: list[Tensor] = []
        for (_, attention), projections in zip(cross_layers(self.model), self.cross, strict=True):
            crossing += [_heads(each, attention.num_heads) for each in projections(x)]
        return tuple(crossing)


class DecoderStep(nn.Module):
    """One token further: logits `[B, V]` and the grown self-attention caches.

    `input_ids` `[B, 1]`, `position` `[1]` (how many tokens went before), `attention_mask` `[B, S]`, `cross` as the
    encoder gives it, `past` keys and values in turn, each `[B, h, T, d]` with T = `position`. With one token a row
    the residual is `[B, d]`: products take their bias along, and heads need no transposition. With `rows`, only those
    tokens are known, numbered 0, 1, 2, ...
    """

    def __init__(self, model: Any, rows: Sequence[int] = ()) -> None:
        super().__init__()
        self.model = model
        self.words, self.output, self.bias = _words(model, rows)
        layers = model.model.decoder.layers
        self.own = nn.ModuleList(_unless_removed(layer.self_attn, "q_proj", "k_proj", "v_proj") for layer in layers)
        self.queries = nn.ModuleList(_unless_removed(layer.encoder_attn, "q_proj") for layer in layers)

    def forward(
        self, input_ids: Tensor, position: Tensor, attention_mask: Tensor, cross: Tensors, past: Tensors
    ) -> tuple[Tensor, ...]:
        """See the class."""
        stack = self.model.model.decoder
        offset = getattr(stack.embed_positions, "offset", 0)
        place = torch.index_select(stack.embed_positions.weight, 0, position + offset)
        x = _embed(stack, self.words(input_ids[:, 0]), place)
        mask = _additive(attention_mask, x)
        crossing, before = iter(cross), iter(past)
        present: list[Tensor] = []
        for layer, own, queries in zip(stack.layers, self.own, self.queries, strict=True):
            x = layer.self_attn_layer_norm(x + self._look_back(layer.self_attn, own, x, before, present))
            attention = layer.encoder_attn
            if removed(attention):
                x = layer.encoder_attn_layer_norm(x + _left(attention, x))
            else:
                query = self._one(queries(x)[0], attention)
                mixed = _mix(query, next(crossing), next(crossing), mask)[0]
                x = layer.encoder_attn_layer_norm(x + attention.out_proj(mixed.flatten(1)))
            x = _feed_forward(layer, x)
        logits = nn.functional.linear(x, self.output, self.bias)
        return (logits, *present)

    @staticmethod
    def _one(x: Tensor, attention: Any) -> Tensor:
        """`[B, h*d]` of one token to `[B, h, 1, d]`."""
        return x.reshape(x.shape[0], attention.num_heads, 1, -1)

    def _look_back(
        self, attention: Any, own: Any, x: Tensor, before: Iterator[Tensor], present: list[Tensor]
    ) -> Tensor | float:
        if removed(attention):
            return _left(attention, x)
        query, key, value = (self._one(each, attention) for each in own(x))
        mixed, *grown = _mix(query, key, value, None, next(before), next(before))
        present += grown
        out: Tensor = attention.out_proj(mixed.flatten(1))
        return out


def _words(model: Any, rows: Sequence[int]) -> tuple[nn.Module, nn.Parameter, Tensor]:
    """The decoder's embedding, output matrix and output bias of these tokens."""
    words, output, bias = model.model.decoder.embed_tokens, model.lm_head.weight, model.final_logits_bias[0]
    if not rows:
        return words, output, bias
    index, tied = torch.tensor(list(rows)), output.data_ptr() == words.weight.data_ptr()
    fewer = copy.deepcopy(words)
    fewer.padding_idx, fewer.num_embeddings = None, len(rows)
    fewer.weight = nn.Parameter(words.weight.detach()[index])
    return fewer, fewer.weight if tied else nn.Parameter(output.detach()[index]), bias[index]


def _unless_removed(attention: Any, *names: str) -> nn.Module:
    return nn.Identity() if removed(attention) else Projections(attention, *names)


def layer_caches(layers: Sequence[tuple[int, Any]], tensors: Sequence[Tensor]) -> tuple[LayerCache, ...]:
    """The cache layout of `layers`, read from their keys and values (in turn, `[B, h, T, d]`)."""
    pairs = zip(layers, tensors[::2], tensors[1::2], strict=True)
    return tuple(LayerCache(number, key.shape[1], key.shape[3], value.shape[3]) for (number, _), key, value in pairs)


def write_graphs(model: Any, folder: Path, rows: Sequence[int] = ()) -> tuple[Caches, Caches]:
    """Writes `encoder.onnx` and `decoder.onnx`; returns the layout of the cross and of the past caches.

    The decoder knows the tokens `rows` only, or all.
    """
    encoder, decoder = Encoder(model).eval(), DecoderStep(model, rows).eval()
    # sizes 0 and 1 are treated as constants by torch.export, so the example uses larger ones that all differ
    batch, source, target = 2, 5, 3
    ids, mask = torch.zeros(batch, source, dtype=torch.long), torch.ones(batch, source, dtype=torch.long)
    one, position = torch.zeros(batch, 1, dtype=torch.long), torch.tensor([target])
    with torch.no_grad():
        cross_tensors = tuple(x.contiguous() for x in encoder(ids, mask))
        before = torch.zeros(batch, target, model.model.decoder.embed_positions.weight.shape[1])
        past_tensors = tuple(
            _heads(project(before), attention.num_heads).contiguous()
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
        made = torch.onnx.export(
            graph, example, input_names=inputs, output_names=outputs, dynamic_shapes=shapes,
            dynamo=True, verbose=False, opset_version=OPSET,
        )  # fmt: skip
        assert made is not None
        _forget_sources(made.model)
        made.save(path, external_data=False)


def _forget_sources(model: Any) -> None:
    """Drops from every node and value which line of which file of this machine it comes from."""
    model.metadata_props.clear()
    for graph in (model.graph, *model.functions.values()):
        graph.metadata_props.clear()
        for value in (*graph.inputs, *graph.initializers.values()):
            value.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()


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
