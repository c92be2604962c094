"""Marian and BART (Hugging Face): post-norm encoder-decoders with the same layers; their table of couplings."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import BartForConditionalGeneration, MarianMTModel, PreTrainedModel

from tprune.core.coupling import Coupling, View, bias, consumer, producer
from tprune.core.cuts import Cuts
from tprune.core.sites import CROSS_ATTENTION, DECODER, ENCODER, FEED_FORWARD, SELF_ATTENTION, WHOLE_MODEL, Site
from tprune.families.modeling.modeling_tprune import (
    GatheredLinear,
    PrunedBartConfig,
    PrunedBartForConditionalGeneration,
    PrunedLayerNorm,
    PrunedMarianConfig,
    PrunedMarianMTModel,
)
from tprune.families.positions import rows_of_positions
from tprune.support.errors import InputError

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")
ATTENTIONS = {"self_attn": SELF_ATTENTION, "encoder_attn": CROSS_ATTENTION}  # of a layer, by attribute


@dataclass(frozen=True)
class EncoderDecoder:
    """A post-norm encoder-decoder family of Hugging Face."""

    name: str
    dense: type[PreTrainedModel]
    pruned: type[PreTrainedModel]
    config: type[Any]
    tolerance: float = 1e-10

    def matches(self, model: nn.Module) -> bool:
        """By class; pruned models of ours belong to it too."""
        return isinstance(model, self.dense)

    def couplings(self, model: nn.Module) -> tuple[Coupling, ...]:
        """FFN units, heads, dimensions inside heads, sublayers, residual width, and the lines of every matrix.

        Raises:
            InputError: the model has gathered matrices; their lines cannot be cut a second time.
        """
        for name, module in model.named_modules():
            if isinstance(module, GatheredLinear):
                raise InputError(f"{name} is a gathered matrix; prune again from the model before the gather")
        found: list[Coupling] = []
        for name, site, module in _attentions(model):
            found += attention(name, int(module.num_heads), site)
        for name, site in _ffns(model):
            found += ffn(name, site)
        found.append(width(model))
        for name, site in _matrices(model):
            found += lines(name, site)
        return tuple(found)

    def build(self, model: nn.Module, cuts: Cuts, heads: Mapping[Site, int], stock: bool) -> nn.Module:
        """An empty model of what the cuts leave; see `shapes`."""
        pruned = shapes(model, cuts, heads)
        assert isinstance(model, PreTrainedModel)
        given = {
            k: v
            for k, v in model.config.to_dict().items()
            if k not in ("pruned", "model_type", "architectures", "auto_map")
        }
        if (rows := rows_of_positions(model)) is not None:  # those of the tables, whatever the configuration says
            given["max_position_embeddings"] = rows
        if stock:
            sides = _stock_sizes(model, pruned)
            built: nn.Module = self.dense(self.dense.config_class(**{**given, **sides}))
        else:
            built = self.pruned(self.config(**given, pruned=pruned))
        return built

    def drops_empty(self, name: str) -> bool:
        """Projections and FFN matrices vanish when empty; what they add to the residual (a bias) stays."""
        return True

    def inherit(self, model: nn.Module, small: nn.Module) -> None:
        """Generation settings and the attention implementation."""
        assert isinstance(model, PreTrainedModel) and isinstance(small, PreTrainedModel)
        small.generation_config = copy.deepcopy(model.generation_config)
        small.set_attn_implementation(model.config._attn_implementation)


MARIAN = EncoderDecoder("marian", MarianMTModel, PrunedMarianMTModel, PrunedMarianConfig)
BART = EncoderDecoder("bart", BartForConditionalGeneration, PrunedBartForConditionalGeneration, PrunedBartConfig)


def ffn(layer: str, site: Site) -> list[Coupling]:
    """The hidden units of a feed-forward block, and the whole block."""
    up, down = f"{layer}.fc1", f"{layer}.fc2"
    units = (producer(f"{up}.weight", "u i -> u"), bias(f"{up}.bias", "u -> u"), consumer(f"{down}.weight", "o u -> u"))
    whole = (
        producer(f"{up}.weight", "u i ->"), bias(f"{up}.bias", "u ->"),
        consumer(f"{down}.weight", "o u ->"), bias(f"{down}.bias", "o ->"),
    )  # fmt: skip
    return [
        Coupling(f"{layer}.ffn", units, kind="ffn", site=site),
        Coupling(f"{layer}.ffn.sublayer", whole, kind="sublayer", site=site),
    ]


def attention(name: str, heads: int, site: Site) -> list[Coupling]:
    """Heads, query-key dimensions and value-output dimensions inside heads, and the whole sublayer."""
    q, k, v, o = (f"{name}.{projection}" for projection in PROJECTIONS)

    def rows(role: Any, projection: str, groups: str) -> tuple[View, View]:
        return (
            role(f"{projection}.weight", f"(h d) i -> {groups}", h=heads),
            bias(f"{projection}.bias", f"(h d) -> {groups}", h=heads),
        )

    def columns(groups: str) -> View:
        return consumer(f"{o}.weight", f"o (h d) -> {groups}", h=heads)

    return [
        Coupling(
            f"{name}.heads",
            (*rows(producer, q, "h"), *rows(producer, k, "h"), *rows(producer, v, "h"), columns("h")),
            kind="heads",
            site=site,
        ),
        Coupling(f"{name}.qk", (*rows(producer, q, "h d"), *rows(consumer, k, "h d")), kind="qk", site=site),
        Coupling(f"{name}.vo", (*rows(producer, v, "h d"), columns("h d")), kind="vo", site=site),
        Coupling(
            f"{name}.sublayer",
            tuple(
                view
                for projection in (q, k, v, o)
                for view in (producer(f"{projection}.weight", "o i ->"), bias(f"{projection}.bias", "o ->"))
            ),
            kind="sublayer",
            site=site,
        ),
    ]


def width(model: nn.Module) -> Coupling:
    """The residual stream: one dimension of every embedding, norm, and matrix that reads or writes it."""
    views: list[View] = []
    for name, module in model.named_modules():
        what = name.rpartition(".")[2]
        if isinstance(module, nn.Embedding):
            position = what == "embed_positions"  # not learned in Marian; cut, but no reason to keep a dimension
            views.append((bias if position else producer)(f"{name}.weight", "v u -> u"))
        elif isinstance(module, nn.LayerNorm | PrunedLayerNorm):
            views += [bias(f"{name}.weight", "u -> u"), bias(f"{name}.bias", "u -> u")]
        elif isinstance(module, nn.Linear):
            if what in ("out_proj", "fc2"):
                views += [producer(f"{name}.weight", "u i -> u"), bias(f"{name}.bias", "u -> u")]
            else:
                views.append(consumer(f"{name}.weight", "o u -> u"))
        elif type(module).__name__ == "BiasOnly":
            views.append(bias(f"{name}.bias", "u -> u"))
    return Coupling("width", tuple(views), kind="width", site=WHOLE_MODEL)


def lines(matrix: str, site: Site) -> list[Coupling]:
    """The input and the output lines of one matrix, which no other matrix has to follow: open, to be gathered."""
    weight = f"{matrix}.weight"
    return [
        Coupling(f"{matrix}.in", (consumer(weight, "o i -> i"),), closed=False, kind="lines", site=site),
        Coupling(f"{matrix}.out", (producer(weight, "o i -> o"),), closed=False, kind="lines", site=site),
    ]


def shapes(model: nn.Module, cuts: Cuts, heads: Mapping[Site, int]) -> dict[str, Any]:
    """What is left, as `config.pruned` says it (see modeling_tprune.py).

    Raises:
        InputError: heads keep unequally many dimensions, or a kept head or the residual width keeps none.
    """
    assert isinstance(model, PreTrainedModel)
    before = getattr(model.config, "pruned", None) or {}
    found: dict[str, Any] = {"attention": {}, "ffn": {}, "removed": list(before.get("removed", [])), "gather": {}}
    for name, site, module in _attentions(model):
        left = heads.get(site, int(module.num_heads))
        if f"{name}.q_proj.weight" in cuts.removed:
            found["removed"].append(name)
        elif left:
            heads_before = int(module.num_heads)
            qk, v = (_per_head(cuts, f"{name}.{p}.weight", heads_before, left) for p in ("q_proj", "v_proj"))
            if not (qk and v):
                raise InputError(
                    f"{name}: {qk} query-key and {v} value dimensions are left per head; cut the heads instead"
                )
            found["attention"][name] = {"heads": left, "qk": qk, "v": v}
        else:
            found["attention"][name] = {"heads": 0, "qk": 0, "v": 0}
    found["attention"] |= {n: s for n, s in before.get("attention", {}).items() if s["heads"] == 0}
    for name, _ in _ffns(model):
        if f"{name}.fc1.weight" in cuts.removed:
            found["removed"].append(f"{name}.ffn")
        else:
            found["ffn"][name] = cuts.shape(f"{name}.fc1.weight")[0]
    found["ffn"] |= {n: 0 for n, units in before.get("ffn", {}).items() if not units}
    left_width = cuts.shape("model.shared.weight" if "model.shared.weight" in cuts.shapes else "lm_head.weight")[1]
    if not left_width:
        raise InputError("nothing is left of the residual width")
    if left_width != model.config.d_model:
        found["width"] = left_width
    for name, gathered in cuts.gather.items():
        used = {"in" if axis == 1 else "out": len(cuts.lines(name, axis)) for axis in gathered}
        found["gather"][name.removesuffix(".weight")] = used
    return found


def _per_head(cuts: Cuts, projection: str, heads: int, left: int) -> int:
    """How many rows of a projection every kept head has. Raises `InputError` when they differ: one tensor cannot hold them."""
    kept = cuts.keep.get(projection, {}).get(0)
    if kept is None:
        return cuts.shapes[projection][0] // heads
    rows = kept.reshape(heads, -1).sum(1)
    each = int(kept.sum()) // left
    if sorted(rows.tolist()) != [0] * (heads - left) + [each] * left:
        raise InputError(
            f"{projection}: the kept heads have {rows[rows > 0].tolist()} rows; keep equally many in every head"
        )
    return each


def _stock_sizes(model: nn.Module, pruned: Mapping[str, Any]) -> dict[str, int]:
    """The stock configuration's sizes. Raises `InputError` naming the first part that it cannot express."""
    assert isinstance(model, PreTrainedModel)
    config = model.config
    for kind in ("removed", "gather", "width"):
        if pruned.get(kind):
            raise InputError(f"a stock configuration cannot express {kind}: {pruned[kind]}; plan FFN units only")
    sizes: dict[str, int] = {}
    for side in (ENCODER, DECODER):
        layers = [name for name, stack, _, _ in _layers(model) if stack == side]
        dense_heads = getattr(config, f"{side}_attention_heads")
        dense = {"heads": dense_heads, "qk": config.d_model // dense_heads, "v": config.d_model // dense_heads}
        for name in (f"{layer}.{attribute}" for layer in layers for attribute in ATTENTIONS):
            if (left := pruned["attention"].get(name, dense)) != dense:
                raise InputError(
                    f"a stock configuration cannot express {left} in {name} (dense: {dense}); plan FFN units only"
                )
        units = [pruned["ffn"][name] for name in layers if name in pruned["ffn"]]
        if len(set(units)) > 1:
            raise InputError(f"a stock configuration has one FFN size per side, the {side} has {sorted(set(units))}")
        sizes[f"{side}_ffn_dim"] = next(iter(units), getattr(config, f"{side}_ffn_dim"))
    return sizes


def _layers(model: nn.Module) -> Iterator[tuple[str, str, int, nn.Module]]:
    """Name, stack, number and module of every layer."""
    for stack in (ENCODER, DECODER):
        for index, layer in model.get_submodule(f"model.{stack}.layers").named_children():
            yield f"model.{stack}.layers.{index}", stack, int(index), layer


def _attentions(model: nn.Module) -> Iterator[tuple[str, Site, Any]]:  # its attributes are what transformers gives it
    for layer, stack, number, module in _layers(model):
        for name, block in ATTENTIONS.items():
            if hasattr(module, name) and not getattr(getattr(module, name), "removed", False):
                yield f"{layer}.{name}", Site(stack, number, block), getattr(module, name)


def _ffns(model: nn.Module) -> Iterator[tuple[str, Site]]:
    for layer, stack, number, module in _layers(model):
        if not getattr(module.fc1, "removed", False):
            yield layer, Site(stack, number, FEED_FORWARD)


def _matrices(model: nn.Module) -> Iterator[tuple[str, Site]]:
    for name, site, _ in _attentions(model):
        yield from ((f"{name}.{projection}", site) for projection in PROJECTIONS)
    for layer, site in _ffns(model):
        yield from ((f"{layer}.{matrix}", site) for matrix in ("fc1", "fc2"))
