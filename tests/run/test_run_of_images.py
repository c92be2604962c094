"""A classifier of images that is no model of transformers, in one call and in a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tprune
from small_images import PROCESSOR, images, resnet
from small_resnet import ResNet
from tprune.core.data import evenly
from tprune.data.splits import Splits
from tprune.recipe.changes import built_in, changed, without_training
from tprune.recipe.reader import read_recipe
from tprune.report.results import finished
from tprune.run.estimates import planned
from tprune.run.folder import Run
from tprune.run.stages import run
from tprune.support.reporting import Progress

QUICK = {**without_training(built_in=True), "prune.search": 2, "bench.rounds": 4, "train_precision": "fp32"}


def test_one_call_compresses_a_resnet() -> None:
    data = images()
    prune = tprune.Prune(kinds=["channels"], steps=0, macs=0.6, allocation="loss", search=2, floor=0.1)
    small = tprune.compress(resnet(), PROCESSOR, data, evenly(data, 8), prune=prune, recover=tprune.Recover(steps=0))
    assert small.reached.macs <= 0.6 * small.dense.macs and small.certificate.forward <= 1e-5
    assert "nats per image" in str(small) and "over 8 images" in str(small)


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
