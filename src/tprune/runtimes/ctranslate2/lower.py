"""A Marian or BART, dense or pruned, as a model of CTranslate2.

The stock converters read the class of the configuration, drop the last row of a Marian's vocabulary and begin with a
vector of zeros. Here sizes are read from the weights, all rows stay, tokens are named by their ids, and the decoder
begins with the embedding of its start token, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ctranslate2.specs import TransformerSpec, common_spec
from numpy.typing import NDArray

from tprune.core.sites import DECODER, ENCODER
from tprune.families.graphs.removed import removed
from tprune.runtimes.ctranslate2.engine import TYPES
from tprune.runtimes.ctranslate2.refusals import ACTIVATIONS, attentions
from tprune.runtimes.products import Product
from tprune.runtimes.translation_layout import TranslationLayout

GRAPH = "model"  # what the products are said to be of


class Lowering:
    """The parts of a model by their weights; remembers which matrices there are."""

    def __init__(self, model: Any) -> None:
        self.names = {id(tensor): name for name, tensor in model.named_parameters()}
        self.matrices: list[tuple[tuple[str, ...], tuple[int, ...], int]] = []  # weights, shape, scales

    def linear(self, spec: Any, *maps: Any) -> None:
        """Linear maps of the same inputs, as one."""
        spec.weight = np.concatenate([array(one.weight) for one in maps])
        spec.bias = np.concatenate([_bias(one) for one in maps])
        self._remember(spec.weight.T.shape, *maps)

    def attention(self, spec: Any, module: Any, own: bool) -> None:
        """An attention; `own` where keys and values are of the same stack as the queries."""
        keys = (module.k_proj, module.v_proj)
        if own:
            self.linear(spec.linear[0], module.q_proj, *keys)
        else:
            self.linear(spec.linear[0], module.q_proj)
            self.linear(spec.linear[1], *keys)
        self.linear(spec.linear[-1], module.out_proj)
        spec.queries_scale = np.float32(module.scaling)  # that of the dense width of a head

    def feed_forward(self, spec: Any, layer: Any, width: int) -> None:
        """The hidden units; where none are left one of zeros, which adds the bias alone."""
        if not removed(layer.fc1):
            self.linear(spec.linear_0, layer.fc1)
            self.linear(spec.linear_1, layer.fc2)
            return
        spec.linear_0.weight, spec.linear_0.bias = np.zeros((1, width), np.float32), np.zeros(1, np.float32)
        bias = getattr(layer.fc2, "bias", None)
        spec.linear_1.weight = np.zeros((width, 1), np.float32)
        spec.linear_1.bias = np.zeros(width, np.float32) if bias is None else array(bias)

    def stack(self, spec: Any, stack: Any, rows: NDArray[np.int64] | None = None) -> None:
        """Embeddings and layers of an encoder or a decoder that knows the tokens `rows`, or all."""
        words = spec.embeddings[0] if isinstance(spec.embeddings, list) else spec.embeddings
        words.weight = _rows(array(stack.embed_tokens.weight), rows)
        self._remember(words.weight.shape, stack.embed_tokens, scales=words.weight.shape[0])
        width = words.weight.shape[1]
        scale = getattr(stack, "embed_scale", getattr(stack.embed_tokens, "embed_scale", 1.0))
        spec.scale_embeddings = np.float32(scale)
        offset = int(getattr(stack.embed_positions, "offset", 0))
        spec.position_encodings.encodings = array(stack.embed_positions.weight[offset:])
        if hasattr(stack, "layernorm_embedding"):
            norm(spec.layernorm_embedding, stack.layernorm_embedding)
        for into, layer in zip(spec.layer, stack.layers, strict=True):
            self.attention(into.self_attention, layer.self_attn, own=True)
            norm(into.self_attention.layer_norm, layer.self_attn_layer_norm)
            if hasattr(layer, "encoder_attn"):
                self.attention(into.attention, layer.encoder_attn, own=False)
                norm(into.attention.layer_norm, layer.encoder_attn_layer_norm)
            self.feed_forward(into.ffn, layer, width)
            norm(into.ffn.layer_norm, layer.final_layer_norm)

    def output(self, spec: Any, model: Any, rows: NDArray[np.int64] | None) -> None:
        """The output layer of the tokens `rows`, or all."""
        spec.weight = _rows(array(model.lm_head.weight), rows)
        spec.bias = _rows(array(model.final_logits_bias[0]), rows)
        self._remember(spec.weight.T.shape, model.lm_head)

    def _remember(self, shape: Sequence[int], *modules: Any, scales: int | None = None) -> None:
        names = tuple(self.names[id(module.weight)] for module in modules)
        if all(names != known for known, _, _ in self.matrices):  # tied ones are stored once
            self.matrices.append((names, tuple(int(size) for size in shape), scales or int(shape[-1])))


def write(model: Any, layout: TranslationLayout, folder: Path, precision: str) -> list[Product]:
    """Writes the model, and returns its matrices where they are not in single precision."""
    lowering, rows = Lowering(model), np.array(layout.rows, np.int64) if layout.rows else None
    first = model.model.encoder.layers[0]
    spec = TransformerSpec.from_config(
        (len(model.model.encoder.layers), len(model.model.decoder.layers)),
        attentions(model, ENCODER)[0].heads,
        pre_norm=False,
        activation=common_spec.Activation[ACTIVATIONS[model.config.activation_function]],
        layernorm_embedding=hasattr(model.model.encoder, "layernorm_embedding"),
    )
    spec.decoder.num_heads = np.int16(attentions(model, DECODER)[0].heads)
    _head_widths(spec, model)
    with torch.no_grad():
        lowering.stack(spec.encoder, model.model.encoder)
        lowering.stack(spec.decoder, model.model.decoder, rows)
        lowering.output(spec.decoder.projection, model, rows)
    _tokens(spec, model, layout)
    spec.config.layer_norm_epsilon = float(first.final_layer_norm.eps)
    spec.validate()
    spec.optimize(None if precision == "fp32" else TYPES[precision])
    spec.save(str(folder))
    if precision == "fp32":
        return []
    return [
        Product(GRAPH, names, shape, precision, shape[0] * shape[1] + 4 * scales)
        for names, shape, scales in lowering.matrices
    ]


def _head_widths(spec: Any, model: Any) -> None:
    """Dimensions of a head, which it would else take from the residual and the number of heads."""
    for stack, into in ((ENCODER, spec.encoder), (DECODER, spec.decoder)):
        found = iter(attentions(model, stack))
        for layer in into.layer:
            for each in (layer.self_attention, *([layer.attention] if stack == DECODER else [])):
                # a specification takes new names only while it is made
                each.__dict__["head_dim"] = np.int32(next(found).qk)


def _tokens(spec: Any, model: Any, layout: TranslationLayout) -> None:
    """Tokens are called by their ids."""
    read = [str(token) for token in range(model.model.encoder.embed_tokens.weight.shape[0])]
    written = [str(int(token)) for token in layout.tokens(np.arange(layout.writable))]
    spec.register_source_vocabulary(read)
    spec.register_target_vocabulary(written)
    g, config = layout.generation, spec.config
    config.eos_token = config.bos_token = str(g.eos_token_id[0])
    config.unk_token, config.decoder_start_token = written[0], str(g.decoder_start_token_id)
    config.add_source_bos = config.add_source_eos = False


def norm(spec: Any, module: Any) -> None:
    """A layer norm."""
    spec.gamma, spec.beta = array(module.weight), array(module.bias)


def array(tensor: Any) -> NDArray[np.float32]:
    """A copy: what quantizes it writes into it."""
    copied: NDArray[np.float32] = tensor.detach().to(torch.float32).numpy().copy()
    return copied


def _bias(module: Any) -> NDArray[np.float32]:
    return np.zeros(module.weight.shape[0], np.float32) if module.bias is None else array(module.bias)


def _rows(of: NDArray[np.float32], rows: NDArray[np.int64] | None) -> NDArray[np.float32]:
    return of if rows is None else of[rows]
