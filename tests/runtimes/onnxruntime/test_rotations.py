"""Rotations whose angles have one row run for as many rows as there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from transformers import ModernBertConfig, ModernBertForSequenceClassification

from tprune.runtimes.export import export
from tprune.runtimes.onnxruntime.rotations import spread_rotations

GRAPH = """
<ir_version: 10, opset_import: ["" : 23]>
rotate (float[B,2,T,4] x, float[{rows},T,2] angles) => (float[B,2,T,4] y) {{
    c = Cos(angles)
    s = Sin(angles)
    y = RotaryEmbedding <num_heads=2> (x, c, s)
}}
"""


def rotated(rows: str, angles: Any, x: Any) -> tuple[int, Any]:
    model = ir.from_proto(onnx.parser.parse_model(GRAPH.format(rows=rows)))
    spread = spread_rotations(model)
    file = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x, "angles": angles})
    return spread, found


def test_one_row_of_angles_serves_all() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 2, 5, 4)).astype(np.float32)
    angles = random.normal(size=(1, 5, 2)).astype(np.float32)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    one, two = x[..., :2], x[..., 2:]
    expected = np.concatenate([one * cos - two * sin, two * cos + one * sin], -1)
    spread, found = rotated("1", angles, x)
    assert spread == 2 and np.allclose(found, expected, atol=1e-6)


def test_angles_of_every_row_are_left_alone() -> None:
    random = np.random.default_rng(0)
    x, angles = (random.normal(size=size).astype(np.float32) for size in ((3, 2, 5, 4), (3, 5, 2)))
    assert rotated("B", angles, x)[0] == 0


@pytest.mark.slow
def test_modernbert_is_exported_for_batches(tmp_path: Path) -> None:
    ends = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2, "pad_token_id": 0}
    sizes = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_labels": 3}
    config = ModernBertConfig(**sizes, **ends, num_attention_heads=4, local_attention=8, max_position_embeddings=64)
    torch.manual_seed(0)
    model: Any = ModernBertForSequenceClassification(config).eval()
    report = export(model, None, tmp_path / "out")
    assert report.ran and report.inputs > 1 and report.max_relative_error < 1e-4
