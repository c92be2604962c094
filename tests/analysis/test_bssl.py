"""BSSL: it shrinks what the loss does not hold on to, leaves the model alone, and gives weights to couplings."""

import dataclasses
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from small_models import small_model
from tprune.analysis import Analysis, BlockShape, Component, analyse, coupling_weights
from tprune.analysis.blocks import by_head
from tprune.analysis.bssl import Path as Strengths
from tprune.analysis.bssl import quantiles, read
from tprune.analysis.sites import origin_of
from tprune.core.coupling import bind
from tprune.core.plan import make_plan
from tprune.families.registry import couplings
from tprune.methods.regulariser import Regulariser
from tprune.support.errors import InputError

FOUND = Analysis(
    (
        Component("a.heads", "heads", 8, 0.0, 0.9),
        Component("b.heads", "heads", 8, 0.0, 0.7),
        Component("a.ffn", "ffn", 64, 0.1, 0.2),
    ),
    0.5,
    10,
)


def fit(model: nn.Module, regulariser: Regulariser) -> None:
    """Descends on the squared distance to the logits that the model gave at first."""
    batch = {"input_ids": torch.arange(5, 17).reshape(2, 6), "decoder_input_ids": torch.arange(7, 17).reshape(2, 5)}
    wanted = model.eval()(**batch).logits.detach()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    regulariser.attach(optimizer)
    for _ in range(30):
        optimizer.zero_grad()
        torch.autograd.backward((model(**batch).logits - wanted).square().mean())
        optimizer.step()


def test_what_nothing_depends_on_is_taken_first() -> None:
    model: Any = small_model("marian").float()
    decoder = model.model.decoder.layers[0]
    with torch.no_grad():  # the second half of the units write nothing: the loss cannot miss them
        decoder.fc2.weight[:, decoder.fc2.in_features // 2 :] = 0
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = analyse(model, fit, kinds=("ffn", "heads"), strength=2.0, steps=30)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    dead, alive = found["model.decoder.layers.0.ffn"], found["model.encoder.layers.0.ffn"]
    assert dead.kind == "ffn" and dead.shrunk > alive.shrunk
    columns = [c for c in found.of_kind("lines") if c.name.startswith("model.decoder.layers.0.fc2")]
    assert max(c.zero for c in columns) >= 0.5  # the columns that were zero before are zero now


@pytest.mark.slow
def test_a_stronger_analysis_takes_more() -> None:
    model = small_model("marian").float()
    weak, strong = (analyse(model, fit, kinds=("ffn",), strength=s, steps=30) for s in (0.2, 2.0))
    assert all(strong[c.name].shrunk > c.shrunk for c in weak.components)


def test_every_strength_leaves_a_reading() -> None:
    model = small_model("marian").float()
    asked: list[float] = []
    found = analyse(
        model, fit, kinds=("ffn",), strength=0.5, steps=30, multiples=(1, 2, 4), loss=lambda m: asked.append(1.0) or 1.0
    )
    assert [(p.strength, p.step, p.loss) for p in found.path] == [(0.5, 10, 1.0), (1.0, 20, 1.0), (2.0, 30, 1.0)]
    assert found.loss == 1.0 and len(asked) == 4
    for component in found.components:
        shares = [reading.shrunk for reading in component.path]
        assert len(shares) == 3 and shares == sorted(shares), component.name
        assert component.area == pytest.approx(sum(shares) / 3)
        assert list(component.norms) == sorted(component.norms) and len(component.norms) <= 32


def test_the_strength_rises_in_equal_stages() -> None:
    model = small_model("marian").float()
    plan = make_plan(model, "marian", couplings(model, ["ffn"]), strengths=1.0)
    ended: list[int] = []
    path = Strengths(model, plan, (0.5, 1.0, 3.0), 9, ended.append)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    seen = []
    for _ in range(9):
        seen.append(path.pace)
        path.after_step(optimizer)
    assert seen == [0.5] * 3 + [1.0] * 3 + [3.0] * 3 and ended == [0, 1, 2]


@pytest.mark.parametrize("multiples", [(), (1.0, 1.0), (2.0, 1.0), (0.0, 1.0)])
def test_a_path_rises(multiples: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="rising strengths"):
        analyse(small_model("marian"), fit, kinds=(), strength=1.0, steps=30, multiples=multiples)


def test_a_fit_that_stops_early_is_named() -> None:
    with pytest.raises(InputError, match="fit took 0 steps; expected 30"):
        analyse(small_model("marian"), lambda model, regulariser: None, kinds=(), strength=1.0, steps=30)


def test_lines_of_head_slices_are_those_of_the_slices() -> None:
    model = small_model("marian")
    lines = by_head(couplings(model, ["lines"]), couplings(model, ["heads"]))
    bound = {g.coupling.name: g for g in bind(lines, model)}
    weights = dict(model.named_parameters())
    name = "model.encoder.layers.0.self_attn"  # 4 heads of 4
    q, o = weights[f"{name}.q_proj.weight"], weights[f"{name}.out_proj.weight"]
    for h in range(4):
        own = slice(4 * h, 4 * h + 4)
        assert torch.allclose(bound[f"{name}.q_proj.in"].norms[h], q[own].norm(dim=0))
        assert torch.allclose(bound[f"{name}.q_proj.out"].norms[h], q[own].norm(dim=1))
        assert torch.allclose(bound[f"{name}.out_proj.out"].norms[:, h], o[:, own].norm(dim=1))
        assert torch.allclose(bound[f"{name}.out_proj.in"].norms[h], o[:, own].norm(dim=0))
    ffn = "model.encoder.layers.0.fc1"
    assert torch.allclose(bound[f"{ffn}.in"].norms, weights[f"{ffn}.weight"].norm(dim=0))


def test_an_analysis_by_heads_runs() -> None:
    model = small_model("marian").float()
    found = analyse(model, fit, kinds=("heads",), strength=0.5, steps=30, blocks=BlockShape.HEADS)
    assert found.blocks == "heads" and found["model.encoder.layers.0.self_attn.q_proj.in"].groups == 64
    assert found["model.encoder.layers.0.fc1.in"].groups == 16


def test_a_reading_compares_with_the_dense_norms() -> None:
    found = read(torch.tensor([0.0, 0.019, 1.0, 2.0]), torch.tensor([2.0, 2.0, 2.0, 2.0]))
    assert found.zero == 0.5 and found.shrunk == pytest.approx(1 - 3.019 / 8, abs=1e-4)
    assert found.norms == (0.0, 0.0095, 0.5, 1.0)
    long = quantiles(torch.arange(1000.0).flip(0))
    assert len(long) == 32 and long[0] == 0 and long[-1] == 999


def test_weights_compare_couplings_of_one_kind() -> None:
    model = small_model("marian")
    names = list(couplings(model, ("ffn", "heads")))
    shares = {c.name: 0.1 * (i % 4) + (0.5 if c.kind == "heads" else 0.0) for i, c in enumerate(names)}
    found = Analysis(tuple(Component(c.name, c.kind, 8, 0.0, shares[c.name]) for c in names), 1.0, 1)
    weights = coupling_weights(found, make_plan(model, "marian", tuple(names)))
    for kind in ("ffn", "heads"):
        of_kind = [c.name for c in names if c.kind == kind]
        assert sum(weights[n] for n in of_kind) / len(of_kind) == pytest.approx(1.0)
        assert sorted(of_kind, key=lambda n: -weights[n]) == sorted(of_kind, key=lambda n: shares[n])


def test_weights_come_from_ablation_losses_where_all_were_measured() -> None:
    model = small_model("marian")
    names = couplings(model, ("ffn",))
    plan = make_plan(model, "marian", names)
    losses = [-0.01, *(0.0016 * 16**i for i in range(len(names) - 1))]  # a gain is noise, and counts as 1e-4
    found = [Component(c.name, c.kind, 8, 0.0, 0.5, ablation_loss=loss) for c, loss in zip(names, losses, strict=True)]
    weights = list(coupling_weights(Analysis(tuple(found), 1.0, 1), plan).values())
    ratios = [b / a for a, b in pairwise(weights)]
    assert ratios == pytest.approx([2.0] * len(ratios))
    without = (dataclasses.replace(found[0], ablation_loss=None), *found[1:])
    assert set(coupling_weights(Analysis(without, 1.0, 1), plan).values()) == {1.0}


def test_an_analysis_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "analysis.json"
    path.write_text(FOUND.to_json(), encoding="utf-8")
    assert Analysis.load(path) == FOUND
    assert FOUND["a.ffn"].groups == 64 and len(FOUND.of_kind("heads")) == 2
    with pytest.raises(InputError, match=r"no component 'c\.ffn'"):
        FOUND["c.ffn"]


def test_an_analysis_from_before_sites_reads_as_if_it_had_them(tmp_path: Path) -> None:
    shown = couplings(small_model("marian"))
    found = Analysis(tuple(Component(c.name, c.kind, 8, 0.0, 0.5, **origin_of(c)) for c in shown), 1.0, 1)
    path = tmp_path / "analysis.json"
    path.write_text(found.to_json(), encoding="utf-8")
    assert Analysis.load(path) == found
    data = json.loads(found.to_json())
    for component in data["components"]:
        for key in ("site", "matrix", "axis"):
            del component[key]
    path.write_text(json.dumps(data), encoding="utf-8")
    assert Analysis.load(path) == found
    losses = tuple(dataclasses.replace(c, ablation_loss=0.25) for c in found.components)
    old = json.loads(dataclasses.replace(found, components=losses).to_json())
    for component in old["components"]:
        component["harm"] = component.pop("ablation_loss")  # its earlier name
    path.write_text(json.dumps(old), encoding="utf-8")
    assert Analysis.load(path) == dataclasses.replace(found, components=losses)
    data["components"][0]["site"] = "decoder"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(InputError, match=r"no analysis \(site 'decoder'; expected \[stack"):
        Analysis.load(path)


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"components": [{"name": "a"}], "strength": 1, "steps": 1})])
def test_a_broken_analysis_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "analysis.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"analysis\.json: no analysis"):
        Analysis.load(path)
