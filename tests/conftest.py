"""Seeds, one thread, no network, types checked at run time; the real model and data if the environment names them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes of the tests share the cores

import pytest
import torch
from filelock import FileLock
from jaxtyping import install_import_hook

CHECKED = [
    *("core", "methods", "realise", "counting", "costs.size", "families.encoder_decoder"),
    *("families.table", "families.left", "families.stock", "families.fused"),
    *("budget.size", "budget.allocate", "budget.knapsack", "budget.latency", "budget.search"),
]
install_import_hook([f"tprune.{name}" for name in CHECKED], "beartype.beartype")

from small_models import small_batch, small_model  # noqa: E402
from tprune.data.parallel import read_lines  # noqa: E402


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def marian_small() -> Any:
    return small_model("marian")


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    return small_batch()


@pytest.fixture(scope="session")
def real_model() -> Path:
    """The folder of a trained model."""
    models = os.environ.get("TPRUNE_MODELS")
    if not models:
        pytest.skip("TPRUNE_MODELS names no folder")
    return Path(models, "marian-tiny-multi30k-en-de")


@pytest.fixture(scope="session")
def data() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Real sentences and their translations."""
    folder = os.environ.get("TPRUNE_DATA")
    if not folder:
        pytest.skip("TPRUNE_DATA names no folder")
    sides = (Path(folder, f"multi30k/test_2016_flickr.{language}.gz") for language in ("en", "de"))
    source, target = (tuple(read_lines(side))[:16] for side in sides)
    return source, target


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished `tprune demo`, made once for all tests that look at it."""
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID")  # one demo for all worker processes of a session
    root = tmp_path_factory.getbasetemp().parent if session else tmp_path_factory.getbasetemp()
    out = root / f"a run {session}" / "demo"
    with FileLock(root / "demo.lock"):
        if not (out / "report.html").exists():
            subprocess.run([sys.executable, "-m", "tprune", "demo", "--out", str(out)], check=True, timeout=840)
    return out
