"""The graphs of a Whisper compute what the model computes, dense and cut, whatever the dialect."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sequence_models import inputs, sequence_model
from tprune.core.graph import Dialect
from tprune.core.known_tasks import task_of
from tprune.core.plan import make_plan
from tprune.families.graphs.encoder_decoder import past_of, stacks_of
from tprune.families.graphs.graph import Listening, skeleton_of
from tprune.families.graphs.origins import origins
from tprune.families.graphs.speech import SoundDecoderStep, SoundEncoder
from tprune.families.registry import couplings
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import random_kept

FURTHEST = 2e-5  # of the largest logit, in single precision
TOLD = torch.arange(24).view(3, 8) + 3


def whisper() -> Any:
    return sequence_model("whisper").float()


def cut() -> Any:
    """A random part of every coupling is gone."""
    model = whisper()
    return shrink(model, random_kept(model, make_plan(model, "whisper", couplings(model)))).eval()


@torch.no_grad()
def stepped(model: Any, dialect: Dialect = "masked") -> Tensor:
    """The logits of every step by the graphs."""
    cross = SoundEncoder(model, dialect)(inputs(model)["input_features"])
    decoder = SoundDecoderStep(model, (), dialect)
    past, found = past_of(decoder.stack, 3, 0), []
    for step, token in enumerate(TOLD.T):
        logits, *past = decoder(token[:, None], torch.tensor([step]), cross, past)
        found.append(logits)
    return torch.stack(found, 1)


@torch.no_grad()
def apart(model: Any, expected: Tensor, dialect: Dialect = "masked") -> float:
    return float((stepped(model, dialect) - expected).abs().max() / expected.abs().max())


@torch.no_grad()
def said(model: Any) -> Tensor:
    found: Tensor = model(**inputs(model), decoder_input_ids=TOLD).logits
    return found


@pytest.mark.parametrize("make", [whisper, cut], ids=["dense", "cut"])
@pytest.mark.parametrize("dialect", ["masked", "plain", "onnx23"])
def test_the_graphs_compute_the_model(make: Callable[[], Any], dialect: Dialect) -> None:
    model = make()
    assert apart(model, said(model), dialect) < FURTHEST


def value_bias(model: Any) -> None:
    model.model.decoder.layers[0].encoder_attn.v_proj.bias.data += 1


def stem(model: Any) -> None:
    model.model.encoder.conv1.bias.data += 1


def position(model: Any) -> None:
    model.model.encoder.embed_positions.weight.data[3, ::2] += 1


@pytest.mark.parametrize("mistake", [value_bias, stem, position], ids=lambda one: one.__name__)
def test_a_mistake_shows(mistake: Callable[[Any], None]) -> None:
    """Keys have no bias, values have one: where the first of the two decides, that of the values is lost."""
    model = whisper()
    expected = said(model)
    mistake(model)
    assert apart(model, expected) > 1e-3


def test_tensors_of_the_graphs_are_called_as_in_the_model() -> None:
    model = whisper()
    names = {name for name, _ in model.named_parameters()}
    for module in (SoundEncoder(model), SoundDecoderStep(model)):
        made_of = {name: origin.parameters for name, origin in origins(module).items()}
        assert all(parameters and names.issuperset(parameters) for parameters in made_of.values())
        own = "encoder" if isinstance(module, SoundEncoder) else "decoder"
        attention = f"model.{own}.layers.0.self_attn"
        assert made_of["own.0.fused.bias"] == (f"{attention}.q_proj.bias", f"{attention}.v_proj.bias")


def test_signatures() -> None:
    """Recordings have one length, so that the batch alone is free; nothing is masked."""
    model = whisper()
    task, skeleton = task_of(model), skeleton_of(model)
    assert isinstance(skeleton, Listening) and skeleton.features(model) == (6, 16)
    encoder, decoder = skeleton.graphs(model, task, task.random(model), "masked")
    assert [spec.dims for spec in encoder.signature.inputs] == [("batch", 6, 16)]
    assert [spec.name for spec in decoder.signature.given] == ["input_ids", "position", "cross_key_0", "cross_value_0"]
    assert decoder.signature.inputs[2].dims == ("batch", 2, 8, 8) and skeleton.limits(model) == {"past": 30}


def test_a_decoder_that_hears_nothing_is_refused() -> None:
    model = whisper()
    stacks_of(model).decoder.layers[0].cross.module.removed = True  # type: ignore[union-attr]
    with pytest.raises(InputError, match="every cross attention is removed, so it does not hear its recording"):
        skeleton_of(model)
