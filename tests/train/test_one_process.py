"""Variables that a launcher left behind neither hang nor surprise: one process trains, unless all are there."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest
import torch

from small_training import HOW, model_of, pairs, weights
from tprune.support.errors import InputError
from tprune.support.launcher import Seat, meet, seat
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


def test_what_a_launcher_says_counts_only_where_it_is() -> None:
    given = {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "False", **TORCHRUN}
    assert seat(given) == Seat(0, 2, "127.0.0.1:29577")
    assert seat(TORCHRUN) is None and seat(MPI) is None and seat({**given, "WORLD_SIZE": "1"}) is None
    with socket.socket() as free:  # the launcher has ended: nobody is where it was
        free.bind(("127.0.0.1", 0))
        gone = {**given, "TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_PORT": str(free.getsockname()[1])}
        assert seat(gone) is None
        free.listen()
        assert seat(gone) is not None
    for name, value in (("RANK", "2"), ("RANK", "x"), ("WORLD_SIZE", ""), ("MASTER_ADDR", "")):
        with pytest.raises(InputError, match=rf"TORCHELASTIC_RUN_ID is set.*{name}='{value}'"):
            seat({**given, name: value})


@pytest.mark.timeout(60)
def test_a_process_that_waits_in_vain_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for key, value in {**TORCHRUN, "MASTER_PORT": port}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(InputError, match=rf"process 1 of 2: not all 2 .* at 127\.0\.0\.1:{port} within 1 s"):
        meet(Seat(0, 2, f"127.0.0.1:{port}"), wait=1.0)
