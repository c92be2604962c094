"""Bundles of a tiny model in every precision, replayed with ARM wheels under qemu-user: `make test-arm`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from onnx_models import SENTENCES, teach_

from tprune.core.precision import Precision
from tprune.runtimes.bundle.make import bundle
from tprune.runtimes.export import export
from tprune.tasks.translation.encoding import MarianSize, new_model

SCRIPT = Path(__file__).parents[2] / ".ci" / "arm"
PRECISIONS = ("fp32", "int8", "int8-weights", "int4-weights")
pytestmark = pytest.mark.skipif("TPRUNE_ARM" not in os.environ, reason="make test-arm downloads qemu and ARM wheels")


@pytest.fixture(scope="session")
def bundles(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("arm")
    model = new_model(MarianSize(64, (1, 2), 4, 96, len(tokenizer), 0.1, 64), len(tokenizer)).eval()
    teach_(model, tokenizer, 40)
    model.generation_config.max_length = 24
    for name in PRECISIONS:
        exported = folder / f"exported-{name}"
        export(model, tokenizer, exported, SENTENCES[:2], precision=Precision(name), thorough=False)
        bundle(exported, folder / name, SENTENCES)
    return [folder / name for name in PRECISIONS]


def replay(processor: str, *bundles: Path) -> tuple[int, str]:
    environment = os.environ | {"CPU": processor, "PYTHON": sys.executable}
    done = subprocess.run([str(SCRIPT), *map(str, bundles)], env=environment, capture_output=True, text=True)
    print(done.stdout)
    return done.returncode, done.stdout


@pytest.mark.parametrize("processor", ["cortex-a72", "max"])  # without and with products of 8-bit vectors
def test_golden_outputs_hold_on_arm(bundles: list[Path], processor: str) -> None:
    code, said = replay(processor, *bundles)
    assert code == 0 and said.count("checks passed") == len(PRECISIONS) and "FAILED" not in said
    if shutil.which("cc"):
        counts = dict(re.findall(r"/([\w-]+): (\d+) million instructions, without [1-9]\d* million", said))
        assert set(counts) == set(PRECISIONS) and all(int(count) > 10 for count in counts.values())


def test_a_fault_is_seen_on_arm_too(bundles: list[Path]) -> None:
    (bundles[0] / "decoder.onnx").write_bytes(b"")
    code, said = replay("cortex-a72", bundles[0])
    assert code == 1 and "FAILED decoder.onnx: has 0 bytes" in said
