"""Where code reads its sizes: watched, and matched by value."""

import pytest
import torch
from proposals import Layer, Stack
from torch import nn
from transformers import HubertConfig, HubertModel, Starcoder2Config, Starcoder2ForCausalLM

from tprune.propose.attributes import read_numbers, ways
from tprune.propose.inputs import small_inputs, small_model
from tprune.support.errors import InputError


def test_only_what_the_code_reads_is_entered_and_classes_come_back() -> None:
    model = Stack().eval()
    model.layers[0].unread = 7  # type: ignore[assignment]
    found = read_numbers(model, lambda m: m(torch.ones(1, 3, dtype=torch.long)), ["layers.0"])
    assert found == {"layers.0": {"num_heads": 2, "head_dim": 4}}
    assert type(model.layers[0]) is Layer


def test_a_number_of_groups_is_not_taken_for_that_of_key_value_heads() -> None:
    first, *others = ways({"head_dim": 6, "num_key_value_groups": 2}, {}, 4, 2, 6)
    assert first == {"dim": "head_dim", "shared": "num_key_value_groups"}
    assert {"dim": "head_dim", "kv": "num_key_value_groups"} in others
    assert ways({"config.heads": 4}, {}, 4, 4, 6) == []  # nothing says how wide a head is
    assert ways({}, {"size": 6, "heads": 4}, 4, 4, 6)[0] == {"dim": "size", "heads": "heads"}


def test_large_configurations_become_small_models() -> None:
    made = small_model(Starcoder2ForCausalLM, Starcoder2Config())
    assert sum(p.numel() for p in made.parameters()) < 100_000
    assert made.config.num_hidden_layers == 2 and made.config.num_key_value_heads == 2
    with pytest.raises(InputError, match=r"no model can be made of its configuration \(KeyError: .*no such"):
        small_model(Starcoder2ForCausalLM, Starcoder2Config(hidden_act="no such"))


def test_inputs_that_are_not_made_are_named() -> None:
    config = HubertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    with torch.device("meta"):
        model: nn.Module = HubertModel(config)
    with pytest.raises(InputError, match="HubertModel takes input_values, for which no inputs are made here"):
        small_inputs(model)  # type: ignore[arg-type]
