"""int8 for one sentence at a time: the encoder in int8, the steps in blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from onnx_models import SENTENCES

from tprune.core.precision import Precision
from tprune.runtimes.certificate import ExportCertificate
from tprune.runtimes.export import export
from tprune.runtimes.onnxruntime.engine import ONNXRUNTIME
from tprune.runtimes.translator import Translator

GREEDY = Precision("int8-greedy")


def test_only_models_that_translate_have_it() -> None:
    assert ONNXRUNTIME.supports(GREEDY, "encoder-decoder") is None
    for build in ("decoder-only", "single-pass"):
        assert ONNXRUNTIME.supports(GREEDY, build) == (
            "int8-greedy is for the steps of models that translate; expected int8"
        )


@pytest.mark.slow
def test_the_encoder_is_in_int8_and_the_steps_in_blocks(marian: Any, tokenizer: Any, tmp_path: Path) -> None:
    export(marian, tokenizer, tmp_path / "out", SENTENCES[:3], precision=GREEDY)
    certificate = ExportCertificate.read(tmp_path / "out")
    made = {(product.graph, product.precision) for product in certificate.products}
    assert {("encoder", "int8"), ("decoder", "int8-blocks")} <= made and ("decoder", "int8") not in made
    assert certificate.steps >= 39 and certificate.found["top1"] >= 0.95
    assert GREEDY.suffix == "-int8-greedy" and len(Translator.load(tmp_path / "out").translate(SENTENCES[:1])) == 1
