"""The headers of a checkpoint say names, shapes and types without a tensor being read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tprune.realise.shards import Shards
from tprune.support.errors import InputError


def test_headers_and_single_tensors(tmp_path: Path) -> None:
    tensors = {
        "matrix": torch.arange(6.0).view(2, 3).bfloat16(),
        "vector": torch.ones(4),
        "empty": torch.zeros(0, 3),
        "number": torch.tensor(7),
    }
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    shards = Shards.of(tmp_path)
    (file,) = shards.names
    headers = {name: (shape, dtype) for name, shape, dtype in shards.headers(file)}
    assert headers == {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    assert torch.equal(shards.tensor(file, "matrix"), tensors["matrix"])
    assert set(shards.all_names()) == set(tensors)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError):
        Shards.of(tmp_path)
