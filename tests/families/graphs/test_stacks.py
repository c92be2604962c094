"""The graphs of all families that write text compute what the model computes, dense and cut."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import ProphetNetConfig, ProphetNetForConditionalGeneration

from text_writers import WRITERS, cut, writer
from tprune.core.graph import Dialect
from tprune.families.graphs.encoder_decoder import DecoderStep, Encoder, past_of, stacks_of
from tprune.families.graphs.origins import origins
from tprune.support.errors import InputError

LENGTH = 16  # more than the distance from which a T5 takes all for one
FURTHEST = 2e-5


def batch() -> dict[str, Tensor]:
    """Three texts, the second padded, and what their decoders are told; the third holds padding inside."""
    chance = torch.Generator().manual_seed(4)
    ids, told = (torch.randint(2, 40, (3, LENGTH), generator=chance) for _ in range(2))
    mask = torch.ones_like(ids)
    mask[1, 11:], ids[1, 11:], ids[2, 5] = 0, 0, 0
    return {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": told}


@torch.no_grad()
def stepped(model: Any, given: dict[str, Tensor], dialect: Dialect = "masked") -> Tensor:
    """The logits of every step by the graphs."""
    cross = Encoder(model, dialect)(given["input_ids"], given["attention_mask"])
    decoder = DecoderStep(model, (), dialect)
    past, found = past_of(decoder.stack, len(given["input_ids"]), 0), []
    for step, token in enumerate(given["decoder_input_ids"].T):
        logits, *past = decoder(token[:, None], torch.tensor([step]), given["attention_mask"], cross, past)
        found.append(logits)
    return torch.stack(found, 1)


@torch.no_grad()
def apart(model: Any, dialect: Dialect = "masked") -> float:
    """How far the graphs are from the model, of its largest logit."""
    given = batch()
    expected = model(**given).logits
    return float((stepped(model, given, dialect) - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("pruned", [False, True], ids=["dense", "cut"])
@pytest.mark.parametrize("name", WRITERS)
def test_the_graphs_compute_the_model(name: str, pruned: bool) -> None:
    model = writer(name, 40)
    model = cut(model) if pruned else model
    assert apart(model) < FURTHEST
    if pruned:
        decoder = stacks_of(model).decoder
        assert decoder.layers[0].cross is not None and decoder.layers[0].cross.removed
        assert {layer.own.removed for layer in decoder.layers} == {True, False}


@pytest.mark.parametrize("name", ["t5", "m2m_100"])
def test_every_dialect_computes_it(name: str) -> None:
    model = cut(writer(name, 40), width=False)
    assert max(apart(model, "plain"), apart(model, "onnx23")) < FURTHEST


def first(model: Any) -> Any:
    return model.decoder.block[0].layer[0].SelfAttention


def other_heads(model: Any) -> None:
    first(model).kept = [3, *first(model).kept[1:]]


def other_bias(model: Any) -> None:
    first(model).relative_attention_bias.weight.data[3] += 1


def scaled(model: Any) -> None:
    model.model_dim *= 2


def other_offset(model: Any) -> None:
    model.model.encoder.embed_positions.padding_idx = 1


def other_scale(model: Any) -> None:
    model.model.decoder.embed_tokens.embed_scale *= 2


def after(model: Any) -> None:
    model.model.decoder.layer_norm.bias.data += 0.1


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("t5", other_heads),
        ("t5", other_bias),
        ("t5", scaled),
        ("m2m_100", other_offset),
        ("mbart", other_scale),
        ("pegasus", after),
    ],
    ids=lambda one: one if isinstance(one, str) else one.__name__,
)
@torch.no_grad()
def test_a_mistake_shows(name: str, mistake: Callable[[Any], None]) -> None:
    given, model = batch(), cut(writer(name, 40))
    expected = model(**given).logits
    mistake(model)
    assert float((stepped(model, given) - expected).abs().max() / expected.abs().max()) > 1e-3


def test_tensors_of_the_graphs_are_called_as_in_the_model() -> None:
    model = cut(writer("t5", 40))
    names = {name for name, _ in model.named_parameters()}
    for module in (Encoder(model), DecoderStep(model)):
        made_of = {name: origin.parameters for name, origin in origins(module).items()}
        assert all(parameters and names.issuperset(parameters) for parameters in made_of.values())
        stack = "encoder" if isinstance(module, Encoder) else "decoder"
        bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        assert made_of["distance.table"] == (bias,)
        assert made_of["norms.0.weight"] == (f"{stack}.block.0.layer.0.layer_norm.weight",)


def test_other_models_have_none() -> None:
    sizes: dict[str, Any] = dict.fromkeys(("hidden_size", "encoder_ffn_dim", "decoder_ffn_dim"), 8)
    sizes |= {f"num_{stack}_{what}": 1 for stack in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    other: nn.Module = ProphetNetForConditionalGeneration(ProphetNetConfig(**sizes, vocab_size=20))
    with pytest.raises(InputError, match="a ProphetNetForConditionalGeneration has no graphs of encoder and decoder"):
        stacks_of(other)
