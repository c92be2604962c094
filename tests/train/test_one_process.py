"""Variables that a launcher left behind neither hang nor surprise: one process trains."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch

from small_training import HOW, model_of, pairs, weights
from tprune.support.errors import InputError
from tprune.train import one_process as module
from tprune.train.trainer import train

TORCHRUN = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29577"}
MPI = {
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "PMI_SIZE": "2",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
}


@pytest.mark.parametrize("left", [TORCHRUN, MPI], ids=["torchrun", "mpi"])
@pytest.mark.timeout(120)
def test_training_is_as_without_them(
    left: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without our part the first of these waits for ever for a second process."""
    plain, other = model_of(), model_of()
    train(plain, pairs(40), pairs(8, 1), HOW, tmp_path / "plain")
    assert "launcher" not in caplog.text
    for key, value in left.items():
        monkeypatch.setenv(key, value)
    module._say.cache_clear()
    with caplog.at_level(logging.WARNING, "tprune"):
        for part in ("a", "b"):
            other = model_of()
            train(other, pairs(40), pairs(8, 1), HOW, tmp_path / part)
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(plain).items())
    assert {key: os.environ[key] for key in left} == left  # whatever else runs in this process may need them
    assert caplog.text.count("variables of a launcher are ignored") == 1 and ", ".join(sorted(left)) in caplog.text


def test_a_process_of_a_group_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    group = torch.distributed
    for name, value in (("is_available", True), ("is_initialized", True), ("get_world_size", 3)):
        monkeypatch.setattr(group, name, lambda value=value: value)
    with pytest.raises(InputError, match=r"one of 3 processes .*start it without a launcher"), module.one_process():
        pass
    monkeypatch.setattr(group, "get_world_size", lambda: 1)
    with module.one_process():
        pass
