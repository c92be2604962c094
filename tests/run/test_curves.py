"""Curves of a run for TensorBoard."""

from __future__ import annotations

from pathlib import Path

import pytest

from small_run import finish_with, prepare
from tprune.cli.early import check_tracker
from tprune.support.errors import InputError


def test_a_tracker_that_is_not_installed_is_refused() -> None:
    with pytest.raises(InputError, match="--tracker nothere: nothere is not installed; pip install nothere"):
        check_tracker("nothere")


@pytest.mark.slow
def test_training_and_selection_are_tracked(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    prepare(tmp_path)
    finish_with(tmp_path, tmp_path / "out", "--tracker", "tensorboard")
    events = EventAccumulator(str(tmp_path / "out/tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    for stage, steps in (("train", 24), ("analyze", 10), ("prune", 12), ("recover", 12)):
        points = events.Scalars(f"{stage}/loss")
        assert points[0].step >= 1 and points[-1].step <= steps and all(0 < point.value < 20 for point in points)
        assert f"{stage}/learning_rate" in tags
    assert len(events.Scalars("train/eval_loss")) == 4  # 24 steps, every 6
    kept = {tag: events.Scalars(tag)[0].value for tag in tags if tag.startswith("selection/kept/")}
    assert kept and all(0 < value <= 1 for value in kept.values()) and min(kept.values()) < 1
    for tag in kept:
        added = events.Scalars(tag.replace("/kept/", "/loss_added/"))
        assert len(added) > 1 and added[-1].value == 0  # all groups cost nothing
