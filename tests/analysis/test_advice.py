"""The ablation loss is what masking adds; advice gives more to what costs more, and knows where a component lies."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from small_models import small_batch, small_model
from tprune.analysis import Analysis, Component, Point, Reading, ablation_losses, advise, with_ablation_losses
from tprune.analysis.ablation import without_smallest
from tprune.analysis.advice import DEAR, cut_shares
from tprune.analysis.loss_curves import token_loss_on
from tprune.analysis.sites import block_name, origin_from_name, origin_of
from tprune.core.coupling import Coupling
from tprune.core.sites import Site
from tprune.families.registry import couplings

KINDS = ("ffn", "heads", "qk", "vo")


def test_the_ablation_loss_is_the_loss_of_the_masked_model() -> None:
    model: Any = small_model("marian")
    loss = token_loss_on([small_batch()])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = ablation_losses(model, couplings(model, KINDS), loss)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    name = "model.encoder.layers.0"
    layer = copy.deepcopy(model)
    fc1, fc2 = layer.get_submodule(f"{name}.fc1"), layer.get_submodule(f"{name}.fc2")
    units = (fc1.weight.square().sum(1) + fc2.weight.square().sum(0)).sqrt()
    gone = units.argsort()[: round(0.3 * 12)]
    with torch.no_grad():
        fc1.weight[gone], fc1.bias[gone], fc2.weight[:, gone] = 0.0, 0.0, 0.0
    assert found[f"{name}.ffn"] == pytest.approx(loss(layer) - loss(model), rel=1e-9)


def test_every_head_loses_as_many_dimensions() -> None:
    keep = without_smallest(torch.arange(20.0).reshape(2, 10))
    assert keep.sum(1).tolist() == [7, 7] and not keep[:, :3].any()
    assert without_smallest(torch.ones(2)).sum() == 1  # at least one goes


@pytest.mark.parametrize("family", ["marian", "bart"])
def test_an_origin_is_that_of_the_coupling_and_older_analyses_name_it_alike(family: str) -> None:
    for coupling in couplings(small_model(family)):
        found = origin_of(coupling)
        assert found["site"] == coupling.site
        assert found == origin_from_name(coupling.name, coupling.kind)
        assert (found["matrix"] + found["axis"] != "") == (coupling.kind == "lines")


def test_blocks_are_named_in_words() -> None:
    sites = (Site("decoder", 2, "cross_attention"), Site("encoder", 11, "feed_forward"), Site("", None, "residual"))
    assert [block_name(site) for site in sites] == ["decoder 2 cross", "encoder 11 ffn", "residual"]
    bare = Component("transformer.h.3.attn.c_attn.in", "lines", 8, 0.0, 0.0, matrix="transformer.h.3.attn.c_attn")
    assert bare.block == "transformer.h.3.attn.c_attn" and replace(bare, matrix="").block == bare.name


def test_shares_are_those_of_least_loss() -> None:
    a, b, c = (f"encoder {i} ffn" for i in range(3))
    weights, loss_of = {a: 100, b: 300, c: 200}, {a: 0.02, b: 0.01, c: 0.5}
    shares = cut_shares({s: loss_of[s] / weights[s] for s in weights}, weights, 0.4)
    assert sum(weights[s] * shares[s] for s in weights) == pytest.approx(0.4 * 600, rel=1e-6)
    best = sum(loss_of[s] * shares[s] ** 2 for s in weights)
    for i in range(21):  # no other split on a grid costs less
        for j in range(21):
            x, y = 0.9 * i / 20, 0.9 * j / 20
            z = (240 - 100 * x - 300 * y) / 200
            if 0 <= z <= 0.9:
                assert loss_of[a] * x**2 + loss_of[b] * y**2 + loss_of[c] * z**2 >= best - 1e-9


def analysis(model: Any, loss_of: dict[str, float], zero: dict[str, float]) -> Analysis:
    def component(coupling: Coupling) -> Component:
        name, kind = coupling.name, coupling.kind
        gone, costs = zero.get(name, 0.0), None if kind == "lines" else loss_of.get(name, 0.01)
        reading = Reading(gone, gone, (0.0, 1.0))
        return Component(name, kind, 8, gone, gone, (1.0, 1.0), (reading,), costs, **origin_of(coupling))

    shown = [component(c) for c in couplings(model, (*KINDS, "lines"))]
    return Analysis(tuple(shown), 1.0, 1, (Point(1.0, 1, 2.0),), 1.5)


def test_what_costs_more_keeps_more_and_what_is_dear_is_left_alone() -> None:
    model = small_model("marian")
    dear, cheap = "model.decoder.layers.2", "model.encoder.layers.0"
    advice = {a.sublayer: a for a in advise(model, analysis(model, {f"{dear}.ffn": 1.0, f"{cheap}.ffn": 1e-4}, {}))}
    assert len(advice) == 2 * 2 + 3 * 3
    assert advice["decoder 2 ffn"].keep > 0.9 and advice["decoder 2 ffn"].leave and not advice["encoder 0 ffn"].leave
    assert advice["encoder 0 ffn"].keep == pytest.approx(0.1) == min(a.keep for a in advice.values())
    assert sum(a.relative for a in advice.values()) / len(advice) == pytest.approx(1.0, abs=1e-3)
    assert "leave it alone" in advice["decoder 2 ffn"].why and DEAR > 1


def test_the_cheaper_way_to_cut_an_attention_is_advised() -> None:
    model, name = small_model("marian"), "model.encoder.layers.1.self_attn"
    heads = analysis(model, {f"{name}.heads": 0.001, f"{name}.qk": 0.01, f"{name}.vo": 0.01}, {})
    inside = analysis(model, {f"{name}.heads": 0.1, f"{name}.qk": 0.01, f"{name}.vo": 0.01}, {})
    assert [{a.sublayer: a.cut for a in advise(model, found)}["encoder 1 self"] for found in (heads, inside)] == [
        "heads",
        "qk+vo",
    ]


def test_lines_that_vanish_alone_are_gathered_and_groups_that_vanish_together_are_cut() -> None:
    model, name = small_model("marian"), "model.encoder.layers.1"
    alone = analysis(model, {}, {f"{name}.fc1.in": 0.6})
    together = analysis(model, {}, {f"{name}.fc1.out": 0.6, f"{name}.fc2.in": 0.6, f"{name}.ffn": 0.6})
    first, second = ({a.sublayer: a for a in advise(model, found)}["encoder 1 ffn"] for found in (alone, together))
    assert (first.cut, first.realisation, first.axis) == ("fc1.in", "gathered", "in")
    assert (second.cut, second.realisation) == ("ffn", "shrunk") and second.zero["together"] == 0.6


def test_the_telling_strength_is_where_components_differ_most() -> None:
    def line(name: str, *zero: float) -> Component:
        return Component(name, "lines", 8, zero[-1], 1.0, (), tuple(Reading(z, z, ()) for z in zero))

    path = tuple(Point(float(i), i) for i in (1, 2, 3))
    found = Analysis((line("a", 0.0, 0.1, 1.0), line("b", 0.0, 0.9, 1.0)), 1.0, 3, path)
    assert found.telling == 1
    wrecked = tuple(replace(p, loss=loss) for p, loss in zip(path, (2.0, 9.0, 9.0), strict=True))
    assert replace(found, path=wrecked, loss=1.5).telling == 0
    assert replace(found, components=()).telling == 0


def test_ablation_losses_join_the_analysis() -> None:
    model = small_model("marian")
    bare = analysis(model, {}, {})
    found = with_ablation_losses(
        bare, model, couplings(model, ["ffn"]), lambda m: float(m.model.encoder.layers[0].fc1.weight.abs().sum())
    )
    first, second = (found[f"model.encoder.layers.{i}.ffn"].ablation_loss for i in (0, 1))
    assert first is not None and first < 0 == second
    assert found["model.encoder.layers.0.self_attn.heads"].ablation_loss == 0.01
