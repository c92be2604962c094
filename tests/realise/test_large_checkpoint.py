"""A checkpoint of a billion weights, cut by norms in minutes and little memory; run by `make test-models`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import tprune

GIGA = 1e9
MINUTES = 5
CUT = """
import json, sys
from tprune.bench.worker import peak_memory
from tprune.cli.cut import cut_to
from pathlib import Path
found = cut_to(Path(sys.argv[1]), Path(sys.argv[2]), None, {"params": 0.7}, ["ffn", "heads"])
print(json.dumps({**found, "peak": peak_memory()}))
"""


def test_eight_billions_have_couplings_in_a_second() -> None:
    config = LlamaConfig(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    begin = time.process_time()
    found = tprune.couplings(model)
    assert time.process_time() - begin < 1
    assert len({coupling.name for coupling in found}) == len(found) > 64


@pytest.mark.models
def test_a_billion_weights(tmp_path: Path) -> None:
    config = LlamaConfig(
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
        tie_word_embeddings=True,
        dtype=torch.bfloat16,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    assert sum(parameter.numel() for parameter in model.parameters()) > GIGA
    model.save_pretrained(tmp_path / "dense", max_shard_size="500MB")
    del model
    largest = max(path.stat().st_size for path in (tmp_path / "dense").glob("*.safetensors"))
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CUT, str(tmp_path / "dense"), str(tmp_path / "small")],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    small = tprune.load(tmp_path / "small")
    assert time.monotonic() - begin < 60 * MINUTES
    assert found["peak"] < largest + 2 * GIGA
    assert sum(parameter.numel() for parameter in small.parameters()) == found["reached"]["params"]
