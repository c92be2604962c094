"""What is known of OpenVINO where it is not installed, or the processor lacks something."""

import sys

import pytest

from tprune.core.graph import BUILDS
from tprune.core.precision import BF16, FP32, INT4_WEIGHTS, INT8, INT8_WEIGHTS, Precision
from tprune.runtimes.openvino import settings
from tprune.runtimes.openvino.engine import OPENVINO
from tprune.support.errors import InputError


def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"needs the package openvino .*; pip install 'tprune\[openvino\]'"):
        OPENVINO.check(())


def test_precisions_depend_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def supported(features: set[str]) -> dict[str, str | None]:
        monkeypatch.setattr(settings, "processor_features", lambda: frozenset(features))
        return {p.name: OPENVINO.supports(p, BUILDS[0]) for p in (FP32, BF16, INT8, INT8_WEIGHTS)}

    assert set(supported({"avx_vnni", "avx512_bf16"}).values()) == {None}
    old = supported({"avx2"})
    assert old["fp32"] is old["int8-weights"] is None
    assert old["int8"] == "this processor has no instructions for int8 (avx512_vnni or avx_vnni)"
    assert old["bf16"] == "this processor has no instructions for bf16 (avx512_bf16 or amx_bf16)"
    assert "no int4-weights weights" in str(OPENVINO.supports(INT4_WEIGHTS, BUILDS[0]))
    assert "breaks down over decoders" in str(OPENVINO.supports(Precision("bf16"), "decoder-only"))
    assert "no exceptions" in str(OPENVINO.supports(Precision("bf16", ("a",)), BUILDS[0]))
