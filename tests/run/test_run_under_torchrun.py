"""`tprune run` under torchrun: two processes train one model together, and the first does all else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from small_run import RECIPE, START, prepare
from tprune.core.plan import Plan
from tprune.realise.checkpoint import load

pytestmark = pytest.mark.slow
WITHOUT_DROPOUT = RECIPE.replace("dropout: 0.1", "dropout: 0.0").replace("bench: {", "train_precision: fp32\nbench: {")
STEADY = WITHOUT_DROPOUT.replace("allocation: loss, search: 2", "allocation: uniform")  # no tie that rounding decides
LAUNCH = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_addr", "127.0.0.1")


def command(folder: Path, out: Path, *more: str) -> list[str]:
    files = [
        part
        for i, flag in enumerate(("src", "tgt", "valid-src", "valid-tgt", "test-src", "test-tgt"))
        for part in (f"--{flag}", str(folder / "st"[i % 2]))
    ]
    return [str(folder / "start.py"), "run", str(folder / "recipe.yaml"), "--out", str(out), *files, *more]


def done(given: list[str], **environment: str) -> tuple[int, str]:
    found = subprocess.run(
        [sys.executable, *given],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    return found.returncode, found.stdout + found.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prepare(tmp_path)
    (tmp_path / "recipe.yaml").write_text(STEADY)
    (tmp_path / "start.py").write_text(START)
    return tmp_path


def port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def test_two_processes_make_what_one_makes(folder: Path) -> None:
    ways = {"one": (), "two": LAUNCH, "sharded": LAUNCH}
    said = {}
    for way, launch in ways.items():
        launched = [*launch, "--master_port", port()] if launch else []
        shard = ["--shard"] if way == "sharded" else []
        code, said[way] = done([*launched, *command(folder, folder / way, "--until", "recover", *shard)])
        assert code == 0, said[way][-3000:]
    for way in ("two", "sharded"):
        assert said[way].count("stopped after recover") == 1  # one process speaks
        assert "Traceback" not in said[way] and "launcher" not in said[way]
        assert files(folder / way) == files(folder / "one")
        for part, bound in (("dense", 1e-5), ("regularised", 1e-2), ("pruned", 1e-2)):
            one, two = weights(folder / "one" / part), weights(folder / way / part)
            assert (one - two).norm() < bound * one.norm(), part
        assert Plan.load(folder / way / "pruned/plan.json") == Plan.load(folder / "one/pruned/plan.json")


def weights(model: Path) -> Tensor:
    """All in one, but for those whose gradient is 0 up to rounding, which Adam blows up."""
    found = load(model).state_dict()
    return torch.cat([tensor.flatten() for name, tensor in found.items() if not name.endswith("k_proj.bias")])


def files(out: Path) -> set[str]:
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    return {name for name in found if "__pycache__" not in name and not name.startswith("work/")}


def test_mistakes_are_told_once(folder: Path) -> None:
    wrong = command(folder, folder / "out", "--shard", "--device", "cuda")
    code, said = done([*LAUNCH, "--master_port", port(), *wrong])
    assert code != 0 and said.count("--device cuda: torch") == 1
    assert not (folder / "out").exists()


def test_one_process_cannot_be_divided(folder: Path) -> None:
    code, said = done(command(folder, folder / "out", "--shard"))
    assert code == 2 and "start some: torchrun" in said and said.count("tprune:") == 1


def test_what_is_left_of_a_launcher_that_has_ended_is_passed_over(folder: Path) -> None:
    left = {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True", "RANK": "1", "WORLD_SIZE": "2"}
    left |= {"LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port()}
    code, said = done(command(folder, folder / "out", "--until", "train"), **left)
    assert code == 0 and "stopped after train" in said
    assert said.count("variables of a launcher are ignored") == 1
