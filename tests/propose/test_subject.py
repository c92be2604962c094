"""What a family is proposed for: whose inputs are taken, and what is said where they are not those of the task."""

from types import SimpleNamespace
from typing import Any

import pytest
from proposals import small
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, ViTConfig, ViTModel

from tprune.propose import subject
from tprune.propose.inputs import small_inputs
from tprune.propose.streams import _kind
from tprune.propose.subject import judge_of
from tprune.support.errors import InputError

SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


def classifier() -> Any:
    return BertForSequenceClassification(BertConfig(vocab_size=60, max_position_embeddings=32, **SIZES)).eval()


def test_inputs_that_are_not_those_of_the_task_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    assert judge_of(classifier(), None, said.append).task is not None and not said
    assert judge_of(small("mpnet"), None, said.append).task is None
    assert said.pop().startswith("random inputs are taken, since no task fits MPNetForMaskedLM: ")

    def fails(*_: Any, **__: Any) -> None:
        raise TypeError("forward() got an unexpected keyword")

    monkeypatch.setattr(subject, "check_agrees", fails)
    assert judge_of(classifier(), None, said.append).task is None
    assert "does not run on those of its task (TypeError: forward() got an unexpected keyword)" in said.pop()


def test_a_model_that_disagrees_with_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise AssertionError("a forward pass is off by 0.3")

    monkeypatch.setattr(subject, "check_agrees", fails)
    with pytest.raises(InputError, match=r"BertForSequenceClassification disagrees with itself.*off by 0\.3"):
        judge_of(classifier(), None, lambda text: None)


def test_a_configuration_without_the_size_of_images_is_named() -> None:
    model = ViTModel(ViTConfig(image_size=8, patch_size=4, **SIZES))
    assert small_inputs(model)["pixel_values"].shape == (2, 3, 8, 8)
    other: Any = SimpleNamespace(main_input_name="pixel_values", config=SimpleNamespace(num_channels=3))
    with pytest.raises(InputError, match="SimpleNamespace takes images, and its configuration has image_size None"):
        small_inputs(other)
    other = SimpleNamespace(main_input_name="input_ids", config=SimpleNamespace(get_text_config=SimpleNamespace))
    with pytest.raises(InputError, match="takes texts, and its configuration has vocab_size None"):
        small_inputs(other)


class Conditioned(nn.LayerNorm):
    """A norm of two inputs."""

    def forward(self, x: Any, scale: Any) -> Any:  # type: ignore[override]
        return super().forward(x) * scale


def test_a_norm_of_another_signature_is_named() -> None:
    model = nn.ModuleDict({"plain": nn.LayerNorm(4), "bare": nn.Module(), "other": Conditioned(4)})
    assert _kind(model, ["plain"], 4) == (False, 0)
    with pytest.raises(ValueError, match=r"other, a Conditioned, is no norm of one input \(TypeError: .*scale"):
        _kind(model, ["plain", "other"], 4)
    with pytest.raises(ValueError, match="bare, a Module, is no norm of one input"):
        _kind(model, ["bare"], 4)
    model["single"] = nn.LayerNorm(3)
    with pytest.raises(ValueError, match=r"single, a LayerNorm, is no norm of one input \(RuntimeError"):
        _kind(model, ["single"], 4)
