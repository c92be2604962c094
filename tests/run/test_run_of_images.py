"""A classifier of images that is no model of transformers, in one call and in a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tprune
from benchmarks.other_tasks.resnet import ResNet
from small_images import PROCESSOR, images, resnet
from tprune.core.data import evenly
from tprune.core.known_tasks import task_of
from tprune.data.image_processor import ImageProcessor
from tprune.data.splits import Splits
from tprune.recipe.changes import built_in, changed, without_training
from tprune.recipe.reader import read_recipe
from tprune.report.results import finished
from tprune.run.estimates import planned
from tprune.run.folder import Run
from tprune.run.stages import run
from tprune.runtimes.export import export
from tprune.runtimes.one_pass import OnePass
from tprune.support.errors import InputError
from tprune.support.reporting import Progress

QUICK = {**without_training(built_in=True), "prune.search": 2, "bench.rounds": 4, "train_precision": "fp32"}


def test_one_call_compresses_a_resnet() -> None:
    data = images()
    prune = tprune.Prune(kinds=["channels"], steps=0, macs=0.6, allocation="loss", search=2, floor=0.1)
    small = tprune.compress(resnet(), PROCESSOR, data, evenly(data, 8), prune=prune, recover=tprune.Recover(steps=0))
    assert small.reached.macs <= 0.6 * small.dense.macs and small.certificate.forward <= 1e-5
    assert "nats per image" in str(small) and "over 8 images" in str(small)


def test_a_model_of_grey_images_from_data_to_export(tmp_path: Path) -> None:
    model, data, processor = resnet(), images(), ImageProcessor((0.5,), (0.5,))
    model.conv1 = nn.Conv2d(1, model.conv1.out_channels, 3, 1, 1, bias=False)
    folder = tprune.save(model, tmp_path / "model", processor)
    processor = task_of(model).processor(folder)
    prune = tprune.Prune(kinds=["channels"], steps=0, macs=0.6, search=0, floor=0.1)
    small = tprune.compress(model, processor, data, evenly(data, 8), prune=prune, recover=tprune.Recover(steps=2))
    examples = task_of(model).encode(data, processor, small.model)
    assert examples[0]["pixel_values"].shape == (1, 8, 8)
    export(small.model, None, tmp_path / "exported", batches=[task_of(model).collate([examples[0]], 0)])
    found = task_of(model).predict(OnePass.load(tmp_path / "exported"), examples)
    with torch.no_grad():
        assert torch.tensor(found.rows).allclose(
            torch.tensor(task_of(model).predict(small.model, examples).rows), atol=1e-4
        )
    with pytest.raises(InputError, match=r"takes images of 1 channels, .* makes images of 3 .* with 1 numbers each"):
        task_of(model).encode(data, PROCESSOR, model)


def test_the_built_in_recipe_counts_images() -> None:
    recipe = read_recipe(built_in("image-classification"))
    assert recipe.prune.kinds == ["channels"] and recipe.recover.batch_tokens == 128
    assert recipe.recover.distill and not recipe.recover.translates


@pytest.mark.slow
def test_a_whole_run_of_a_resnet(tmp_path: Path) -> None:
    recipe = changed(read_recipe(built_in("image-classification")), "prune", QUICK, {"macs": 0.6}, needed=True)
    folder, data = tprune.save(resnet(), tmp_path / "model", PROCESSOR), images()
    corpus: Any = Splits(data, evenly(data, 8), {"test": evenly(data, 12)})
    run(Run(tmp_path / "run", recipe, corpus, str(folder), "test", Progress(planned(recipe)), architecture=ResNet))
    found = finished(tmp_path / "run")
    assert (found.task, found.metric, found.phase) == ("image-classification", "accuracy", "pass")
    assert found.pruned.macs <= 0.6 * found.dense.macs
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "the same images" in page and "channels" in page and "sentence" not in page
