"""Models with uneven layers, of any class of transformers or of torch, as code that travels beside the weights.

This file needs torch and transformers only, so that a saved directory loads where tprune is not installed.
`Pruned<Class>` of every class of transformers is made when it is asked for; `load_pruned` loads models that are no part
of transformers, given their class. `config.pruned` says in what a model differs from the one that the rest of its
configuration describes:

    {
        # modules of another class
        "replaced": {"encoder.layer.0.intermediate": {"kind": "nothing", "returns": 1}},
        # parameters and buffers of other shapes; null: as in the dense model
        "tensors": {"encoder.layer.1.intermediate.dense.weight": [20, null]},
        # what stock code reads sizes from; "config." before what an attention reads from the configuration
        "attributes": {"encoder.layer.1.attention.self": {"num_attention_heads": 3}},
        # heads, key-value heads, and dimensions of a head for queries and keys, and for values
        "values": {"encoder.layer.1.attention.self": [3, 3, 6, 4]},
        # heads that are left, where one block computes a bias for the heads of all blocks
        "kept": {"encoder.block.1.layer.0.SelfAttention": [0, 2, 3]},
        # buffers that the class has not, or does not save; without a dtype, in that of the model
        "buffers": {"model.rotary_emb.inv_freq": {"shape": [3]}, "encoder.heads": {"shape": [2], "dtype": "int64"}},
    }
"""

import json
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
import transformers
from safetensors.torch import load_file, load_model
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.auto import modeling_auto
from transformers.pytorch_utils import Conv1D

ATTENTION = "tprune_uneven"  # the name of `uneven_attention` among the attention functions of transformers
AUTO_CLASSES = (
    "AutoModelForSeq2SeqLM",
    "AutoModelForCausalLM",
    "AutoModelForSequenceClassification",
    "AutoModelForImageClassification",
    "AutoModel",
)  # tried in this order; then all others
Module = TypeVar("Module", bound=nn.Module)


class Constant(nn.Module):
    """A linear map without inputs: its bias."""

    def __init__(self, dense: Any) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty_like(dense.bias))

    def forward(self, x: Tensor) -> Tensor:
        """The bias, once for each position of the input."""
        # a sum, because without gradients a view of a parameter would still ask for one
        return self.bias + x.new_zeros(*x.shape[:-1], 1)


class Nothing(nn.Module):
    """A block of which nothing is left but, perhaps, the bias of its output map.

    Models read the number of past positions from the cache of one of their attentions, so a removed self-attention goes
    on writing one, a single zero wide, lest positions freeze.
    """

    removed = True

    def __init__(
        self, dense: nn.Module, returns: int = 1, output: str | None = None, passes: str | None = None
    ) -> None:
        super().__init__()
        self.returns, self.output, self.passes = returns, output, passes
        self.layer_idx = getattr(dense, "layer_idx", None)
        if output is not None:
            self.add_module(output, Constant(dense.get_submodule(output)))

    def forward(self, hidden_states: Tensor, *_: Any, **given: Any) -> Any:
        """What the block adds to the residual stream: zeros, or the bias.

        Then the argument that it passes on, and None for each further result of the dense block.
        """
        past = given.get("past_key_values", given.get("layer_past"))
        crossing = given.get("key_value_states") is not None
        if past is not None and self.layer_idx is not None and not crossing:
            cache = getattr(past, "self_attention_cache", past)
            blank = hidden_states.new_zeros(hidden_states.shape[0], 1, hidden_states.shape[1], 1)
            cache.update(blank, blank, self.layer_idx)
        if self.output is None:
            found = hidden_states.new_zeros(*hidden_states.shape[:-1], 1)
        else:
            found = self.get_submodule(self.output)(hidden_states)
        if self.returns == 1:
            return found
        passed = [] if self.passes is None else [given.get(self.passes)]
        return (found, *passed, *[None] * (self.returns - 1 - len(passed)))


class Gathered(nn.Module):
    """A linear map that reads some of its inputs and writes some of its outputs; the other outputs are their bias.

    `input_index` (inputs read): which they are. `output_index` (outputs): for every output its row of the small
    product, or the number of rows for an output that gets none.
    """

    def __init__(
        self, dense: Any, inputs: int, outputs: int, read: int | None = None, written: int | None = None
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        rows, columns = (outputs if written is None else written), (inputs if read is None else read)
        self.weight = nn.Parameter(dense.weight.new_empty(rows, columns))
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.new_empty(outputs))
        index = {"dtype": torch.long, "device": dense.weight.device}
        self.input_index = None if read is None else nn.Buffer(torch.zeros(read, **index))
        self.output_index = None if written is None else nn.Buffer(torch.zeros(outputs, **index))

    def forward(self, x: Tensor) -> Tensor:
        """Gather, multiply, scatter, add the bias."""
        if self.input_index is not None:
            x = x.index_select(-1, self.input_index)
        y = nn.functional.linear(x, self.weight)
        if self.output_index is not None:
            y = torch.cat([y, y.new_zeros(*y.shape[:-1], 1)], dim=-1).index_select(-1, self.output_index)
        return y if self.bias is None else y + self.bias


class NarrowLayerNorm(nn.Module):
    """Layer norm of a vector whose other entries, up to the dense width, are zero.

    It is computed as one of the dense width, for which runtimes have an operator.
    """

    def __init__(self, dense: Any) -> None:
        super().__init__()
        self.dense: int = getattr(dense, "dense", dense.weight.shape[0])
        self.eps: float = dense.eps
        self.weight = nn.Parameter(torch.empty_like(dense.weight))
        self.bias = None if dense.bias is None else nn.Parameter(torch.empty_like(dense.bias))

    def forward(self, x: Tensor) -> Tensor:
        """(x − μ) / √(σ² + ε) · weight + bias, with μ and σ² over the dense width."""
        size = x.shape[-1]
        more = (0, self.dense - size)
        whole, weight = (nn.functional.pad(y, more) for y in (x, self.weight))
        bias = None if self.bias is None else nn.functional.pad(self.bias, more)
        return nn.functional.layer_norm(whole, (self.dense,), weight, bias, self.eps)[..., :size]


class NarrowRMSNorm(nn.Module):
    """Norm by the root mean square of a vector whose other entries, up to the dense width, are zero.

    In single precision, as stock.
    """

    def __init__(self, dense: Any, offset: int = 0) -> None:
        super().__init__()
        self.dense: int = getattr(dense, "dense", dense.weight.shape[0])
        self.variance_epsilon: float = getattr(dense, "variance_epsilon", None) or dense.eps
        self.offset = offset
        self.weight = nn.Parameter(torch.empty_like(dense.weight))

    def forward(self, x: Tensor) -> Tensor:
        """x / √(Σx²/D + ε) · (offset + weight), D the dense width."""
        y = x.to(torch.float32)
        y = y * torch.rsqrt(y.pow(2).sum(-1, keepdim=True) / self.dense + self.variance_epsilon)
        return self.weight * y.to(x.dtype) if not self.offset else (y * (self.offset + self.weight.float())).to(x.dtype)


def _multihead(dense: Any, **given: Any) -> nn.Module:  # its file lies beside the models that need it
    where = f"{__package__}.modeling_multihead" if __package__ else "modeling_multihead"
    return import_module(where).MultiheadAttention(dense, **given)  # type: ignore[no-any-return]


KINDS: dict[str, Callable[..., nn.Module]] = {
    "nothing": Nothing,
    "constant": Constant,
    "gathered": Gathered,
    "layer_norm": NarrowLayerNorm,
    "rms_norm": NarrowRMSNorm,
    "multihead": _multihead,
}


class Sizes(NamedTuple):
    """What is left of an attention: heads, key-value heads, and dimensions of a head."""

    heads: int
    kv: int
    qk: int
    v: int


class Through:
    """A configuration as one attention sees it: its attention function is ours, which calls that of the model."""

    _attn_implementation = ATTENTION

    def __init__(self, config: Any) -> None:
        self.config = config

    def __getattr__(self, name: str) -> Any:
        if name == "config" or name.startswith("__"):  # asked for before they are there, by copies and pickles
            raise AttributeError(name)
        return getattr(self.config, name)


def uneven_attention(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **kwargs: Any) -> Any:
    """Attention with other widths for queries and keys than for values, and a bias for each head of the dense model.

    Stock code has viewed these as heads of width 1.
    """
    sizes: Sizes | None = getattr(module, "uneven", None)
    if (bias := kwargs.get("position_bias")) is not None and hasattr(module, "kept"):
        kwargs["position_bias"] = bias[:, module.kept]

    def heads(x: Tensor, number: int, dim: int) -> Tensor:
        split = x.transpose(1, 2).reshape(x.shape[0], x.shape[2], number, dim).transpose(1, 2)
        # in memory as stock code has it, so that sums are the same to the bit: caches are contiguous, projections are
        # not
        return split.contiguous() if x.is_contiguous() else split

    eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(module.config.config._attn_implementation, eager)
    parts = query, key, value
    if sizes is not None:
        parts = heads(query, sizes.heads, sizes.qk), heads(key, sizes.kv, sizes.qk), heads(value, sizes.kv, sizes.v)
    return attend(module, *parts, mask, **kwargs)


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, uneven_attention)


def rebuild_(model: nn.Module, pruned: Mapping[str, Any]) -> None:
    """Changes a dense model in place, so that the weights of the pruned one fit.

    What is resized holds no values yet.
    """
    for name, how in pruned.get("replaced", {}).items():
        where, _, what = name.rpartition(".")
        given = {key: value for key, value in how.items() if key != "kind"}
        setattr(model.get_submodule(where), what, KINDS[how["kind"]](model.get_submodule(name), **given))
    for name, how in pruned.get("buffers", {}).items():
        where, _, what = name.rpartition(".")
        kind = getattr(torch, how["dtype"]) if "dtype" in how else None
        model.get_submodule(where).register_buffer(what, buffer := torch.zeros(how["shape"], dtype=kind))
        buffer._is_hf_initialized = True  # type: ignore[attr-defined]  # stock code would compute it for dense sizes
    resized: dict[Tensor, Tensor] = {}  # tied ones stay tied
    for name, shape in pruned.get("tensors", {}).items():
        where, _, what = name.rpartition(".")
        _resize(model.get_submodule(where), what, tuple(shape), resized)
    for name, attributes in pruned.get("attributes", {}).items():
        for key, value in attributes.items():
            of_config, own = key.startswith("config."), model.get_submodule(name)
            setattr(_through(own) if of_config else own, key.removeprefix("config."), value)
    for name, sizes in pruned.get("values", {}).items():
        uneven: Any = model.get_submodule(name)
        uneven.uneven, _ = Sizes(*sizes), _through(uneven)
    for name, kept in pruned.get("kept", {}).items():
        attention: Any = model.get_submodule(name)
        attention.kept, _ = list(kept), _through(attention)
    for module in model.modules():
        _queries_first_(module)


def _through(module: Any) -> Through:
    """The configuration as this attention alone sees it."""
    if not isinstance(module.config, Through):
        module.config = Through(module.config)
    own: Through = module.config
    return own


def _queries_first_(module: nn.Module) -> None:
    """Puts the map of the queries before those of keys and values, where stock code has it after them.

    The norm by which gradients are clipped sums over the parameters in their order. In this order earlier versions of
    tprune trained pruned models, so that a run gives the same weights to the bit.
    """
    if "q_proj" in module._modules:
        module._modules = {"q_proj": module._modules.pop("q_proj"), **module._modules}


def _resize(module: Any, what: str, sizes: tuple[int | None, ...], resized: dict[Tensor, Tensor]) -> None:
    old = getattr(module, what)
    shape = tuple(dense if size is None else size for size, dense in zip(sizes, old.shape, strict=True))
    if old not in resized:
        new = old.new_empty(shape)
        learned = isinstance(old, nn.Parameter)
        resized[old] = nn.Parameter(new, requires_grad=old.requires_grad) if learned else new
    setattr(module, what, resized[old])
    if what != "weight":
        return
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = shape
    elif isinstance(module, Conv1D):
        module.nx, module.nf = shape
    elif isinstance(module, nn.Embedding):
        module.num_embeddings, module.embedding_dim = shape
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        module.num_features = shape[0]
    elif isinstance(module, nn.modules.conv._ConvNd):
        if module.groups > 1:  # depthwise: one filter a channel
            module.groups = shape[0]
        module.out_channels, module.in_channels = shape[0], shape[1] * module.groups


@cache
def pruned_config(dense: type[Any]) -> type[Any]:
    """The configuration class of pruned models: the dense model's, and `pruned`."""
    made = type(
        f"Pruned{dense.__name__}",
        (dense,),
        {
            "__module__": __name__,
            "__doc__": f"A {dense.__name__} with what pruning has changed.",
            "__annotations__": {"pruned": dict[str, Any] | None},
            "pruned": None,
            "model_type": f"tprune_{dense.model_type}",
        },
    )
    made.register_for_auto_class()  # type: ignore[attr-defined]  # of a class made here
    if (bare := modeling_auto.MODEL_MAPPING.get(dense, None)) is not None:  # some heads make what they stand on by it
        modeling_auto.MODEL_MAPPING.register(made, bare, exist_ok=True)
    return made


@cache
def pruned_class(dense: type[Any]) -> type[Any]:
    """The class of pruned models of a class of transformers: an ordinary dense model of uneven sizes."""

    def __init__(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        dense.__init__(self, config, *args, **kwargs)
        rebuild_(self, config.pruned or {})
        self._keys_to_ignore_on_save = None  # what stock code computes from sizes, it computes from the dense ones
        self.post_init()

    made: Any = type(
        f"Pruned{dense.__name__}",
        (dense,),
        {
            "__module__": __name__,
            "__doc__": f"A pruned {dense.__name__}.",
            "__init__": __init__,
            "config_class": pruned_config(dense.config_class),
            "dense_class": dense,
            "_can_set_experts_implementation_cached_value": False,  # grouped products need widths of whole 16 bytes
        },
    )
    if (auto := _auto_class(dense)) is not None:
        made.register_for_auto_class(auto)
    return made  # type: ignore[no-any-return]  # `type` returns Any


def _auto_class(dense: type[Any]) -> str | None:
    others = sorted(
        str(name) for name in vars(modeling_auto) if name.startswith("AutoModel") and name not in AUTO_CLASSES
    )
    for name in (*AUTO_CLASSES, *others):
        mapping = getattr(getattr(modeling_auto, name), "_model_mapping", None)
        if mapping is not None and dense.__name__ in _named(mapping._model_mapping.values()):
            return name
    return None


def _named(classes: Any) -> set[str]:
    """The names in the values of a mapping of transformers, which are names or tuples of names."""
    return {name for one in classes for name in ((one,) if isinstance(one, str) else one)}


def load_pruned(dense: Callable[..., Module], folder: str | Path, **kwargs: Any) -> Module:
    """Loads a pruned model that is no part of transformers.

    Args:
        dense: the class of the model before it was pruned.
        folder: what tprune saved: `config.json` and `model.safetensors`.
        kwargs: what `dense` is called with, beside what `config.json` says of it.

    Returns:
        The model, evaluating.
    """
    config = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
    given = {key: value for key, value in config.items() if key not in ("architectures", "pruned")}
    model = dense(**{**given, **kwargs})
    pruned = config.get("pruned") or {}
    rebuild_(model, pruned)
    weights = Path(folder, "model.safetensors")
    dtypes = {tensor.dtype for tensor in load_file(weights).values() if tensor.is_floating_point()}
    if len(dtypes) == 1:
        model.to(dtype=dtypes.pop())
    load_model(model, weights, strict=True)
    model.pruned = pruned  # type: ignore[assignment]  # a module attribute
    return model.eval()


def __getattr__(name: str) -> Any:  # `Pruned<Class>` of any class of transformers
    dense = getattr(transformers, name.removeprefix("Pruned"), None) if name.startswith("Pruned") else None
    if isinstance(dense, type) and issubclass(dense, transformers.PreTrainedModel):
        return pruned_class(dense)
    if isinstance(dense, type) and issubclass(dense, transformers.PreTrainedConfig):
        return pruned_config(dense)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
