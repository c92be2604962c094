"""BSSL: it shrinks what the loss does not hold on to, leaves the model alone, and says what a coupling is worth."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from small_models import small_model
from tprune.analysis import Analysis, Component, analyse, worth
from tprune.errors import InputError
from tprune.models import couplings
from tprune.plan import make_plan
from tprune.regularise import Regulariser

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


def test_a_stronger_analysis_takes_more() -> None:
    model = small_model("marian").float()
    weak, strong = (analyse(model, fit, kinds=("ffn",), strength=s, steps=30) for s in (0.2, 2.0))
    assert all(strong[c.name].shrunk > c.shrunk for c in weak.components)


def test_worth_compares_couplings_of_one_kind() -> None:
    model = small_model("marian")
    names = list(couplings(model, ("ffn", "heads")))
    shares = {c.name: 0.1 * (i % 4) + (0.5 if c.kind == "heads" else 0.0) for i, c in enumerate(names)}
    found = Analysis(tuple(Component(c.name, c.kind, 8, 0.0, shares[c.name]) for c in names), 1.0, 1)
    weights = worth(found, make_plan(model, "marian", tuple(names)))
    for kind in ("ffn", "heads"):
        of_kind = [c.name for c in names if c.kind == kind]
        assert sum(weights[n] for n in of_kind) / len(of_kind) == pytest.approx(1.0)
        assert sorted(of_kind, key=lambda n: -weights[n]) == sorted(of_kind, key=lambda n: shares[n])


def test_an_analysis_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "analysis.json"
    path.write_text(FOUND.to_json(), encoding="utf-8")
    assert Analysis.load(path) == FOUND
    assert FOUND["a.ffn"].groups == 64 and len(FOUND.of_kind("heads")) == 2
    with pytest.raises(InputError, match=r"no component 'c\.ffn'"):
        FOUND["c.ffn"]


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"components": [{"name": "a"}], "strength": 1, "steps": 1})])
def test_a_broken_analysis_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "analysis.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"analysis\.json: no analysis"):
        Analysis.load(path)
