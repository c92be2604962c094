"""Layers of every layout are one matrix: what a row of inputs gives with it is what the layer gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tprune.core.coupling import Coupling, consumer, producer
from tprune.scores.readers import columns, layer, matrix_of, reader_of, write_
from tprune.support.errors import InputError


class Net(nn.Module):
    def __init__(self, read: nn.Module) -> None:
        super().__init__()
        self.read = read


def inputs(read: nn.Module) -> tuple[Tensor, Tensor]:
    if isinstance(read, nn.Conv2d):
        return torch.randn(3, 6, 7, 5), torch.tensor([True, False, True])
    real = torch.ones(2, 4, dtype=torch.bool)
    real[1, 2:] = False
    return torch.randn(2, 4, 6), real


READERS: dict[str, tuple[nn.Module, str]] = {
    "linear": (nn.Linear(6, 5), "o i -> i"),
    "linear without bias": (nn.Linear(6, 5, bias=False), "o i -> i"),
    "Conv1D of GPT-2": (Conv1D(5, 6), "i o -> i"),
    "convolution": (nn.Conv2d(6, 5, 3, stride=2, padding=1), "o i y x -> i"),
    "dilated, not square": (nn.Conv2d(6, 5, (3, 1), dilation=(2, 1), padding=(1, 0), bias=False), "o i y x -> i"),
}


@pytest.mark.parametrize("name", READERS)
def test_rows_times_the_matrix_are_the_outputs(name: str) -> None:
    read, pattern = READERS[name]
    model: Any = Net(read).double()
    given, real = inputs(read)
    given = given.double()
    reader = reader_of(model.read)
    assert reader is not None
    rows, matrix = reader.rows(model.read, given, real), matrix_of(model, "read.weight")
    found = rows @ matrix.T + (0 if model.read.bias is None else model.read.bias)
    expected = model.read(given)[real]
    expected = expected.flatten(2).transpose(1, 2).flatten(0, 1) if isinstance(read, nn.Conv2d) else expected
    torch.testing.assert_close(found, expected)
    group = columns(model, consumer("read.weight", pattern))
    assert group is not None and group.shape == matrix.shape[1:]
    for channel in (0, 4):  # columns of a group are those that its inputs are multiplied with
        without = given.clone()
        without.select(1 if isinstance(read, nn.Conv2d) else 2, channel).zero_()
        changed = (reader.rows(model.read, without, real) != rows).any(0)
        assert not changed[group != channel].any() and changed[group == channel].any()


@pytest.mark.parametrize("name", READERS)
def test_a_matrix_is_written_back(name: str) -> None:
    model: Any = Net(READERS[name][0])
    matrix = torch.randn(matrix_of(model, "read.weight").shape)
    bias = None if model.read.bias is None else torch.randn(5)
    write_(model, "read.weight", matrix, bias)
    assert torch.equal(matrix_of(model, "read.weight"), matrix) and layer(model, "read.weight") is model.read
    assert bias is None or torch.equal(model.read.bias, bias)


def test_what_is_no_reader() -> None:
    depthwise, embedding = Net(nn.Conv2d(6, 6, 3, groups=6)), Net(nn.Embedding(4, 6))
    same = Net(nn.Conv2d(6, 6, 3, padding="same"))
    for model in (depthwise, embedding, same):
        assert reader_of(model.read) is None  # type: ignore[arg-type]
        with pytest.raises(InputError, match="is not seen as a matrix"):
            matrix_of(model, "read.weight")
    linear = Net(nn.Linear(6, 5))
    assert columns(linear, producer("read.weight", "o i -> o")) is None
    assert columns(linear, consumer("read.weight", "o i -> o")) is None  # its rows are no inputs
    assert Coupling("c", (consumer("read.weight", "o i -> i"),)).views
    with pytest.raises(InputError, match=r"shape \(2, 6\), expected \(2, 4\) tokens"):
        reader_of(nn.Linear(6, 5)).rows(linear.read, torch.ones(2, 6), torch.ones(2, 4).bool())  # type: ignore[union-attr]
