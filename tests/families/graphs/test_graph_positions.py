"""Tables of positions and biases by distance give what the modules of transformers give."""

from typing import Any

import pytest
import torch

from text_writers import writer
from tprune.families.graphs.positions import AfterPadding, ByDistance


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
@torch.no_grad()
def test_biases_by_distance_are_those_of_a_t5(stack: str) -> None:
    attention: Any = getattr(writer("t5", 40), stack).block[0].layer[0].SelfAttention
    bias, length = ByDistance(attention), 3 * attention.relative_attention_max_distance
    expected = attention.compute_bias(length, length)
    if stack == "encoder":
        assert torch.equal(bias.of_texts(length), expected)
        assert not torch.equal(bias.of_texts(length), expected.transpose(2, 3))  # before is not behind
        return
    for past in (0, 1, 11, 12, 13, length - 1):
        found = bias.of_step(torch.tensor([past]), past + 1)
        assert torch.equal(found, expected[:, :, past : past + 1, : past + 1])


@torch.no_grad()
def test_positions_after_padding_are_those_of_an_m2m_100() -> None:
    module: Any = writer("m2m_100", 40).model.encoder.embed_positions
    for pad in (0, 1, 3):
        module.padding_idx = pad
        module.make_weights(62, module.embedding_dim, pad)
        positions, ids = AfterPadding(module), torch.tensor([[5, 6, 7, 8], [9, pad, 10, pad]])
        assert torch.equal(positions.of_texts(ids), module(ids))
        for before in (0, 7):
            expected = module(ids[:, :1], past_key_values_length=before)[:, 0]
            assert torch.equal(positions.of_step(ids[:, 0], torch.tensor([before])), expected)
        padding = module(torch.tensor([[pad]]), past_key_values_length=5)[:, 0]
        assert torch.equal(positions.of_step(torch.tensor([pad]), torch.tensor([5])), padding)
        assert positions.tokens == min(62 - pad - 1, 60)
