"""Bytes in memory by precision: counted by hand, and those of tied and expanded matrices."""

from typing import Any

import pytest
import torch
from torch import nn

from small_models import small_model
from tprune.core.precision import BF16, FP32, INT4_WEIGHTS, INT8, INT8_WEIGHTS, Precision
from tprune.runtimes.held import InMemory


class Net(nn.Module):
    """A lookup, a product with a bias, a convolution, and one norm."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(10, 128), nn.Linear(128, 6)
        self.kernel, self.norm = nn.Conv2d(3, 2, 4, bias=False), nn.LayerNorm(128)


BESIDE = 4 * (6 + 2 * 128)  # the bias and the norm
BY_HAND = {
    FP32: 4 * (10 * 128 + 6 * 128 + 3 * 2 * 16),
    INT8: 10 * 128 + 4 * 10 + 6 * 128 + 4 * 6 + 4 * 3 * 2 * 16,
    INT8_WEIGHTS: 4 * (10 * 128 + 6 * 128 + 3 * 2 * 16),
    INT4_WEIGHTS: 10 * 128 + 4 * 10 + 6 * 64 + 4 * 6 * 4 + 4 * 3 * 2 * 16,
    Precision("int8", ("out.weight",)): 10 * 128 + 4 * 10 + 4 * 6 * 128 + 4 * 3 * 2 * 16,
}


@pytest.mark.parametrize("precision", BY_HAND, ids=str)
def test_bytes_are_those_counted_by_hand(precision: Precision) -> None:
    with torch.device("meta"):
        net = Net()
    assert InMemory("onnxruntime", precision)(net) == BY_HAND[precision] + BESIDE


def test_what_is_tied_counts_once_and_is_held_twice() -> None:
    model: Any = small_model("marian")
    shared, every = model.get_input_embeddings().weight.numel(), InMemory("onnxruntime", INT8)
    kept = InMemory("onnxruntime", Precision("int8", ("lm_head.weight",)))
    assert kept(model) - every(model) == 4 * shared - 2 * (shared + 4 * 40)
    assert every.exempt(["lm_head.weight"]) == (False,) and kept.exempt(["lm_head.weight", "x"]) == (True, False)


def test_runtimes_that_say_nothing_take_bits_and_scales() -> None:
    net = nn.Linear(10, 4, bias=False)
    found = {one.name: InMemory("openvino", one)(net) for one in (FP32, BF16, INT8)}
    assert found == {"fp32": 160, "bf16": 80, "int8": 40 + 16}
