"""Exports of decoders beside Llama: their graphs, what is wrong in them, and the files."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from eager_graphs import opened, prompt
from transformers import Gemma2ForCausalLM

from table_models import kept_by, table_model
from tprune.core.graph import Dialect
from tprune.core.known_tasks import task_of
from tprune.families.graphs import decoder_only
from tprune.families.graphs.decoders import DecoderLayer
from tprune.realise.shrink import shrink
from tprune.runtimes.export import export
from tprune.runtimes.verify_pass import verify_pass
from tprune.support.errors import CertificateError
from tprune.testing import randomise_


def windowed_gemma2() -> Any:
    """With a window in every other layer, and limits that matter."""
    config = table_model("gemma2").config
    config.update({"sliding_window": 3, "final_logit_softcapping": 2.0})
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(config).eval()
    randomise_(model)
    return model


def one_after_the_other() -> Any:
    """A GPT-NeoX whose feed-forward blocks read what the attentions add."""
    model = table_model("gpt_neox")
    for layer in model.gpt_neox.layers:
        layer.use_parallel_residual = False
    model.config.use_parallel_residual = False
    return model


STEPS = ("mistral", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "gpt_neox")  # which take single steps, as Llama does
OTHERS: dict[str, Callable[[], Any]] = {
    **{name: partial(table_model, name) for name in STEPS},
    "gemma2, windows": windowed_gemma2,
    "gpt_neox, in turn": one_after_the_other,
}


@pytest.mark.parametrize("cut", [False, True], ids=["dense", "cut"])
@pytest.mark.parametrize("name", OTHERS)
def test_the_graphs_of_other_decoders_compute_them(name: str, cut: bool) -> None:
    model = OTHERS[name]()
    if cut:
        model = shrink(model, kept_by(model, ["heads", "ffn", "sublayer", "width"]))
    model = model.float().eval()
    dialects: tuple[Dialect, ...] = ("onnx23", "masked") if cut else ("plain",)
    for dialect in dialects:
        report = verify_pass(model, task_of(model), opened(model, dialect), [prompt(model)])
        assert report.max_relative_error < 1e-5 and report.steps > 8


def mistaken(layer: DecoderLayer, mistake: dict[str, Any]) -> DecoderLayer:
    """The layer with another value of an attribute; None for `attention` takes the norm of its output away."""
    if "attention" in mistake:
        return replace(layer, attention=replace(layer.attention, norm_of_output=None))
    return layer if "window" in mistake and not layer.window else replace(layer, **mistake)


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("gemma2, windows", {"window": 4}),
        ("gemma2, windows", {"window": None}),
        ("gemma2, windows", {"attention": None}),
        ("mistral", {"window": 5}),
        ("gpt_neox", {"parallel": False}),
        ("gpt_neox, in turn", {"parallel": True}),
    ],
    ids=str,
)
def test_a_wrong_layer_is_refused(name: str, mistake: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = OTHERS[name]().float().eval()
    right = decoder_only.decoder_of(model)
    layers = tuple(mistaken(layer, mistake) for layer in right.layers)
    monkeypatch.setattr(decoder_only, "decoder_of", lambda model: replace(right, layers=layers))
    with pytest.raises(CertificateError, match="logits"):
        verify_pass(model, task_of(model), opened(model), [prompt(model)])


@pytest.mark.parametrize("cap", ["logit_cap", "score_cap"])
def test_a_missing_limit_is_refused(cap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = windowed_gemma2()
    right = decoder_only.decoder_of(model)
    monkeypatch.setattr(decoder_only, "decoder_of", lambda model: replace(right, **{cap: None}))
    with pytest.raises(CertificateError, match="logits"):
        verify_pass(model, task_of(model), opened(model), [prompt(model)])


WHOLE = ("gpt2", "opt")  # which read whole texts


@pytest.mark.slow
@pytest.mark.parametrize("name", [*STEPS, *WHOLE])
def test_other_decoders_are_exported(name: str, tmp_path: Path) -> None:
    model = table_model(name)
    small = shrink(model, kept_by(model, ["heads", "ffn", "sublayer", "width"])).float().eval()
    report = export(small, None, tmp_path / "out", batches=[prompt(small)])
    assert report.max_relative_error < 1e-5 and report.inputs == 3
    assert set(report.files) >= {"decoder.onnx" if name in STEPS else "model.onnx"}
