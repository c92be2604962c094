"""A tiny wav2vec 2.0 in onnxruntime: signals of any length, padded or not, in fp32 and int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from small_tasks import speller
from tprune.bench.phases import typical
from tprune.core.plan import make_plan
from tprune.core.precision import INT8
from tprune.families.graphs.graph import skeleton_of
from tprune.families.registry import couplings
from tprune.realise.shrink import shrink
from tprune.runtimes.certificate import ExportCertificate
from tprune.runtimes.export import export
from tprune.runtimes.one_pass import OnePass
from tprune.support.errors import InputError
from tprune.tasks.ctc_recognition import CtcRecognition
from tprune.testing import random_kept

TASK = CtcRecognition()


def test_a_signal_has_any_length_and_an_image_its_own() -> None:
    model = speller()
    (graph,) = skeleton_of(model).graphs(model, TASK, TASK.prompt(TASK.random(model)), "masked")
    assert [spec.dims for spec in graph.signature.inputs] == [("batch", "tokens")] * 2
    assert graph.limits == {"tokens": 1500 * 64}


@pytest.mark.slow
@pytest.mark.parametrize("pruned", [False, True], ids=["dense", "cut"])
def test_an_export_equals_pytorch(pruned: bool, tmp_path: Path) -> None:
    model = speller()
    if pruned:
        model = shrink(model, random_kept(model, make_plan(model, "wav2vec2", couplings(model)))).eval()
    report = export(model, None, tmp_path / "out")
    assert report.max_relative_error < 1e-4 and report.inputs == 2
    opened = OnePass.load(tmp_path / "out")
    batch = TASK.collate([{"input_values": torch.randn(n), "labels": [0]} for n in (900, 4000, 77)], 0)
    with torch.no_grad():
        expected = TASK.run(model, batch).logits.numpy()
    found = opened.logits({name: x.numpy() for name, x in TASK.prompt(batch).items()})
    kept = TASK.heard(model, batch).numpy()
    assert np.abs(found - expected)[kept].max() < 1e-4 * np.abs(expected).max()
    assert typical(opened, 2, 25)["input_values"].shape == (2, 500 * 64)
    with pytest.raises(InputError, match=r"a tokeniser for a .*, whose task speech-recognition-ctc reads no text"):
        export(model, object(), tmp_path / "other")  # type: ignore[arg-type]


@pytest.mark.slow
def test_integers(tmp_path: Path) -> None:
    report = export(speller(), None, tmp_path / "out", precision=INT8)
    assert 0 < report.rms < 0.1
    by_weight = {
        name: one.precision for one in ExportCertificate.read(tmp_path / "out").products for name in one.weights
    }
    assert by_weight["wav2vec2.encoder.layers.0.feed_forward.intermediate_dense.weight"] == "int8"
    assert by_weight["wav2vec2.feature_extractor.conv_layers.0.conv.weight"] != "int8"
