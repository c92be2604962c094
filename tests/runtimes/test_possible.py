"""What cannot be exported is known from a configuration alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from tprune.core.graph import BUILDS
from tprune.core.precision import Precision
from tprune.runtimes.coreml.engine import COREML
from tprune.runtimes.onnxruntime.engine import ONNXRUNTIME, OnnxRuntime
from tprune.runtimes.possible import builds_of, check_supported
from tprune.support.errors import InputError

TRANSLATES, PASSES = {"is_encoder_decoder": True}, {"model_type": "bert"}


def test_a_precision_that_a_runtime_lacks_is_said_before_that_it_is_not_installed() -> None:
    absent = OnnxRuntime("absent", "no-such-package", "pip install no-such-package")
    with pytest.raises(InputError, match="cannot export m in bf16 for absent: its kernels for the CPU have no bf16"):
        check_supported(absent, Precision("bf16"), BUILDS, "m")
    with pytest.raises(InputError, match="runtime absent is not installed here; pip install no-such-package"):
        check_supported(absent, Precision("int8"), BUILDS, "m")
    with pytest.raises(InputError, match="in int8 for coreml: no int8 is written for it; expected fp32 or fp16"):
        check_supported(COREML, Precision("int8"), BUILDS, "m")


def test_the_configuration_tells_the_builds_that_a_model_may_have() -> None:
    """One of them that runs is enough: what is not known is not refused."""
    greedy = Precision("int8-greedy")
    for config in (TRANSLATES, {}):
        check_supported(ONNXRUNTIME, greedy, builds_of(config), "m")
    with pytest.raises(InputError, match="cannot export m in int8-greedy for onnxruntime"):
        check_supported(ONNXRUNTIME, greedy, builds_of(PASSES), "m")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (("--runtime", "coreml", "--precision", "int8"), "in int8 for coreml: no int8 is written for it"),
        (("--precision", "int8", "--max-int8-loss", "1"), "no sentences: give --valid-src and --valid-tgt"),
        (("--precision", "int8", "--out", "mine"), "mine: holds a, which no export wrote"),
        (("--fp32", "a"), "a is to stay in fp32, which all weights do in precision fp32"),
    ],
)
def test_what_is_refused_without_the_model_is_refused_before_torch_is_imported(
    line: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "m").mkdir()
    (tmp_path / "mine" / "a").touch()
    (tmp_path / "m" / "config.json").write_text('{"is_encoder_decoder": true, "architectures": ["MarianMTModel"]}')
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\nfrom tprune.cli.app import main; main()"
    )
    called = [sys.executable, "-c", code, "export", "m", "--out", "small", *line]
    done = subprocess.run(called, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and says in done.stderr, done.stderr
