"""Pruned Marian and BART models: layers of different sizes, as Hugging Face code that travels beside the weights.

This file needs torch and transformers only, so that a saved directory loads with `trust_remote_code=True` where tprune is not
installed. `config.pruned` says what is left of each part:

    {"width": 200,                                                # residual dimensions (absent: all)
     "attention": {"model.encoder.layers.0.self_attn": {"heads": 4, "qk": 32, "v": 24}},    # sizes per head
     "ffn": {"model.encoder.layers.0": 512},                      # hidden units
     "removed": ["model.decoder.layers.0.self_attn", "model.encoder.layers.1.ffn"],
     "gather": {"model.encoder.layers.0.fc1": {"in": 200}}}       # lines of one matrix: {"in": n, "out": n}
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BartConfig, BartForConditionalGeneration, MarianConfig, MarianMTModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bart.modeling_bart import BartAttention
from transformers.models.marian.modeling_marian import MarianAttention, eager_attention_forward


class PrunedMarianConfig(MarianConfig):
    """A Marian configuration with the sizes that pruning has left."""

    model_type = "tprune_marian"
    pruned: dict[str, Any] | None = None


class PrunedBartConfig(BartConfig):
    """A BART configuration with the sizes that pruning has left."""

    model_type = "tprune_bart"
    pruned: dict[str, Any] | None = None


class GatheredLinear(nn.Module):
    """A linear map that reads some of its inputs and writes some of its outputs; the other outputs are their bias.

    `input_index` (n_in): the inputs that are read. `output_index` (out_features): for every output its row of the small
    product, `n_out` for an output that gets none.
    """

    def __init__(self, in_features: int, out_features: int, n_in: int | None, n_out: int | None) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(
            torch.empty(out_features if n_out is None else n_out, in_features if n_in is None else n_in)
        )
        self.bias = nn.Parameter(torch.empty(out_features))
        self.input_index = None if n_in is None else nn.Buffer(torch.zeros(n_in, dtype=torch.long))
        self.output_index = None if n_out is None else nn.Buffer(torch.zeros(out_features, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """Gather, multiply, scatter, add the bias."""
        if self.input_index is not None:
            x = x.index_select(-1, self.input_index)
        y = nn.functional.linear(x, self.weight)
        if self.output_index is not None:
            y = torch.cat([y, y.new_zeros(*y.shape[:-1], 1)], dim=-1).index_select(-1, self.output_index)
        return y + self.bias


class PrunedLayerNorm(nn.Module):
    """Layer norm of a vector whose other `dense - size` entries are zero: as one of the dense width, which runtimes have an operator for."""

    def __init__(self, size: int, dense: int, eps: float) -> None:
        super().__init__()
        self.dense, self.eps = dense, eps
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        """(x − μ) / √(σ² + ε) · weight + bias, with μ and σ² over the dense width."""
        size = x.shape[-1]
        whole, weight, bias = (nn.functional.pad(y, (0, self.dense - size)) for y in (x, self.weight, self.bias))
        return nn.functional.layer_norm(whole, (self.dense,), weight, bias, self.eps)[..., :size]


class Removed(nn.Module):
    """A map of which nothing is left: adds zero to the residual stream."""

    removed = True

    def forward(self, x: Tensor) -> Tensor:
        """A scalar zero."""
        return x.new_zeros(())


class BiasOnly(nn.Module):
    """The second map of a feed-forward block without hidden units: its bias is what it adds."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(size))

    def forward(self, x: Tensor) -> Tensor:
        """The bias."""
        return self.bias


class RemovedAttention(nn.Module):
    """An attention sublayer of which nothing is left.

    The decoder reads the length of the past from its first layer's cache, so the first layer goes on writing a cache, one zero
    wide, lest positions freeze.
    """

    removed = True

    def __init__(self, counts_positions: bool, layer_idx: int | None, output: nn.Module) -> None:
        super().__init__()
        self.counts_positions, self.layer_idx, self.out_proj = counts_positions, layer_idx, output

    def forward(
        self, hidden_states: Tensor, key_value_states: Tensor | None = None, past_key_values: Any = None, **_: Any
    ) -> tuple[Tensor, None]:
        """A scalar zero, or the bias that is left of the output map; no attention weights."""
        if self.counts_positions and past_key_values is not None and key_value_states is None:
            cache = getattr(past_key_values, "self_attention_cache", past_key_values)
            blank = hidden_states.new_zeros(hidden_states.shape[0], 1, hidden_states.shape[1], 1)
            cache.update(blank, blank, self.layer_idx)
        return self.out_proj(hidden_states), None


class PrunedAttention(nn.Module):
    """Attention whose heads may have other widths for queries and keys than for values, with the dense model's scaling."""

    def __init__(self, dense: Any, heads: int, qk: int, v: int) -> None:
        nn.Module.__init__(self)
        self.config: Any = dense.config
        for name in ("embed_dim", "dropout", "scaling", "is_decoder", "is_causal", "layer_idx"):
            setattr(self, name, getattr(dense, name))
        self.num_heads, self.qk_dim, self.v_dim = heads, qk, v
        self.head_dim = qk
        width = int(dense.embed_dim)
        self.q_proj, self.k_proj = nn.Linear(width, heads * qk), nn.Linear(width, heads * qk)
        self.v_proj, self.out_proj = nn.Linear(width, heads * v), nn.Linear(heads * v, width)

    def forward(
        self,
        hidden_states: Tensor,
        key_value_states: Tensor | None = None,
        past_key_values: Any = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Scaled dot-product attention over (batch, time, width); reads and writes the cache as the dense model does."""
        crossing = key_value_states is not None
        query = self._heads(self.q_proj(hidden_states))
        cache, ready = past_key_values, False
        if past_key_values is not None and hasattr(past_key_values, "is_updated"):
            ready = crossing and bool(past_key_values.is_updated.get(self.layer_idx))
            cache = past_key_values.cross_attention_cache if crossing else past_key_values.self_attention_cache
        if ready:
            key, value = cache.layers[self.layer_idx].keys, cache.layers[self.layer_idx].values
        else:
            states = key_value_states if crossing else hidden_states
            key, value = self._heads(self.k_proj(states)), self._heads(self.v_proj(states))
            if cache is not None:
                key, value = cache.update(key, value, self.layer_idx)
                if crossing and hasattr(past_key_values, "is_updated"):
                    past_key_values.is_updated[self.layer_idx] = True
        attend: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        output, weights = attend(
            self, query, key, value, attention_mask,
            dropout=self.dropout if self.training else 0.0, scaling=self.scaling, **kwargs,
        )  # fmt: skip
        return self.out_proj(output.flatten(2)), weights

    def _heads(self, x: Tensor) -> Tensor:
        heads: Tensor = x.reshape(*x.shape[:-1], self.num_heads, -1).transpose(1, 2)
        return heads


class PrunedMarianAttention(PrunedAttention, MarianAttention):
    """For `isinstance` checks of transformers (attention outputs)."""


class PrunedBartAttention(PrunedAttention, BartAttention):
    """For `isinstance` checks of transformers (attention outputs)."""


def rebuild_(model: Any, pruned: dict[str, Any], attention: type[PrunedAttention]) -> None:
    """Replaces or resizes the modules of a freshly built dense model, in place, so that pruned weights fit."""
    removed = set(pruned.get("removed", ()))
    for name, size in pruned.get("attention", {}).items():
        if name not in removed:
            dense = model.get_submodule(name)
            if size["heads"]:
                _replace(model, name, attention(dense, size["heads"], size["qk"], size["v"]))
            else:
                _replace(model, name, _without_attention(name, BiasOnly(dense.embed_dim)))
    for where, units in pruned.get("ffn", {}).items():
        if f"{where}.ffn" not in removed:
            layer = model.get_submodule(where)
            width = layer.fc1.in_features
            layer.fc1 = nn.Linear(width, units) if units else Removed()
            layer.fc2 = nn.Linear(units, width) if units else BiasOnly(width)
    for name in removed:
        where, _, what = name.rpartition(".")
        if what == "ffn":
            _replace(model, f"{where}.fc1", Removed())
            _replace(model, f"{where}.fc2", Removed())
        else:
            _replace(model, name, _without_attention(name, Removed()))
    if pruned.get("width") is not None:
        _narrow_(model, model.config.d_model, pruned["width"])
    for name, lines in pruned.get("gather", {}).items():
        dense = model.get_submodule(name)
        _replace(model, name, GatheredLinear(dense.in_features, dense.out_features, lines.get("in"), lines.get("out")))


def _without_attention(name: str, output: nn.Module) -> RemovedAttention:
    where, _, what = name.rpartition(".")
    index = int(where.rpartition(".")[2])
    return RemovedAttention(what == "self_attn" and index == 0 and ".decoder." in name, index, output)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    where, _, what = name.rpartition(".")
    setattr(model.get_submodule(where), what, module)


def _narrow_(model: Any, dense: int, width: int) -> None:
    """Resizes everything that touches the residual stream."""
    for name, module in list(model.named_modules()):
        what = name.rpartition(".")[2]
        if isinstance(module, nn.Embedding):
            module.weight = nn.Parameter(
                torch.empty(module.num_embeddings, width), requires_grad=module.weight.requires_grad
            )
            module.embedding_dim = width
        elif isinstance(module, nn.LayerNorm):
            _replace(model, name, PrunedLayerNorm(width, dense, module.eps))
        elif isinstance(module, BiasOnly):
            module.bias = nn.Parameter(torch.empty(width))
        elif isinstance(module, nn.Linear):
            writes = what in ("out_proj", "fc2")
            inputs, outputs = (module.in_features, width) if writes else (width, module.out_features)
            _replace(model, name, nn.Linear(inputs, outputs, bias=module.bias is not None))


class PrunedMarianMTModel(MarianMTModel):
    """A pruned Marian translation model; an ordinary dense model of uneven sizes."""

    config_class = PrunedMarianConfig

    def __init__(self, config: PrunedMarianConfig) -> None:
        super().__init__(config)
        rebuild_(self, config.pruned or {}, PrunedMarianAttention)
        self._keys_to_ignore_on_save = None  # a narrowed sinusoid cannot be computed again from its size
        self.post_init()


class PrunedBartForConditionalGeneration(BartForConditionalGeneration):
    """A pruned BART model; an ordinary dense model of uneven sizes."""

    config_class = PrunedBartConfig

    def __init__(self, config: PrunedBartConfig) -> None:
        super().__init__(config)
        rebuild_(self, config.pruned or {}, PrunedBartAttention)
        self.post_init()


PrunedMarianConfig.register_for_auto_class()
PrunedMarianMTModel.register_for_auto_class("AutoModelForSeq2SeqLM")
PrunedBartConfig.register_for_auto_class()
PrunedBartForConditionalGeneration.register_for_auto_class("AutoModelForSeq2SeqLM")
