"""Exports of a BERT classifier, a ResNet that is no model of transformers, and a Llama with grouped queries."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from eager_graphs import opened, prompt
from onnx_models import SENTENCES
from torch import Tensor, nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    ProphetNetConfig,
    ProphetNetForConditionalGeneration,
)

from table_models import kept_by, table_model
from tprune.core.caches import LayerCache
from tprune.core.graph import Dialect
from tprune.core.known_tasks import task_of
from tprune.families.graphs import decoder_only
from tprune.families.graphs.attention import MIXES
from tprune.families.graphs.graph import skeleton_of
from tprune.families.graphs.single_pass import Pass
from tprune.realise.shrink import shrink
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.export import check_exportable, export
from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.opened import open_exported
from tprune.runtimes.translator import Translator
from tprune.runtimes.verify_pass import verify_pass
from tprune.support.errors import CertificateError, InputError
from tprune.testing import randomise_

NAMES = ("bert-classifier", "resnet", "llama")
GONE = {
    "bert-classifier": ("bert.encoder.layer.1.attention.self.sublayer", "bert.encoder.layer.2.intermediate.sublayer"),
    "llama": ("model.layers.0.self_attn.sublayer", "model.layers.2.mlp.sublayer"),
    "resnet": (),
}
PRUNED = {
    "bert-classifier": ("heads", "qk", "vo", "ffn", "sublayer", "width"),
    "llama": ("heads", "ffn", "sublayer", "width"),
    "resnet": ("channels",),
}


def dense(name: str) -> Any:
    return table_model(name).float()


def pruned(name: str) -> Any:
    """Uneven layers: fewer heads here than there, an attention and a feed-forward block gone, a narrower residual."""
    model = table_model(name)
    return shrink(model, kept_by(model, PRUNED[name], gone=GONE[name])).float().eval()


def long_llama() -> Any:
    """With room for all the steps of the check, and biases."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=12,
        max_position_embeddings=64,
        attention_bias=True,
        mlp_bias=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        rope_parameters={"rope_type": "default", "rope_theta": 20.0},
    )
    model = LlamaForCausalLM(config).eval()
    randomise_(model)
    return model


MODELS: dict[str, Callable[[], Any]] = {
    **{name: partial(dense, name) for name in NAMES},
    **{f"{name}, pruned": partial(pruned, name) for name in NAMES},
    "a longer llama": long_llama,
}


@pytest.mark.parametrize("dialect", list(MIXES))
@pytest.mark.parametrize("name", list(MODELS))
def test_the_graphs_compute_the_model(name: str, dialect: Dialect) -> None:
    model = MODELS[name]()
    found = verify_pass(model, task_of(model), opened(model, dialect), [prompt(model)])
    assert found.max_relative_error < 1e-5 and found.inputs == 3
    assert found.steps == (48 if name == "a longer llama" else 30 if "llama" in name else 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MODELS))
def test_export_equals_pytorch(name: str, tmp_path: Path) -> None:
    model = MODELS[name]().train()
    report = export(model, None, tmp_path / "out", batches=[prompt(model)])
    assert model.training  # left as it was
    assert report.max_relative_error < 1e-5 and report.inputs == 3
    graph = "decoder.onnx" if "llama" in name else "model.onnx"
    assert set(report.files) == {graph, "layout.json", "certificate.json"}
    assert b".py" not in (tmp_path / "out" / graph).read_bytes()
    model.eval()
    one = open_exported(tmp_path / "out")
    assert isinstance(one, OnePass)
    batch = prompt(model)
    with torch.no_grad():
        expected = task_of(model).run(model, batch).logits
    got = one.logits({key: x.numpy() for key, x in batch.items()})
    counts = task_of(model).positions(batch, "") if got.ndim == 3 else slice(None)
    torch.testing.assert_close(torch.from_numpy(got)[counts], expected[counts], rtol=0, atol=1e-4)
    with pytest.raises(
        InputError, match=rf"out: an exported model for {one.layout.task}; expected one for translation"
    ):
        Translator.load(tmp_path / "out")


@pytest.mark.parametrize("name", ["bert-classifier", "resnet"])
def test_a_wrong_pass_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = dense(name)
    true_forward = Pass.forward

    def doubled(self: Pass, inputs: Any) -> Tensor:
        first, *others = inputs
        return true_forward(self, (first, *(torch.ones_like(x) for x in others)))  # the mask is ignored

    if name == "resnet":
        one = opened(dense("resnet"))
        model.layer1[0].conv1.weight.data[0, 0, 0, 0] += 0.5
    else:
        monkeypatch.setattr(Pass, "forward", doubled)
        one = opened(model)
    with pytest.raises(CertificateError, match=r"batch 1: logits differ by"):
        verify_pass(model, task_of(model), one, [prompt(model)])


def unmasked(self: Any, input_ids: Tensor, attention_mask: Tensor, past: Any) -> Any:
    return TRUE_FORWARD(self, input_ids, torch.ones_like(attention_mask), past)


def frozen(self: Any, positions: Tensor) -> Any:
    return TRUE_ANGLES(self, positions - positions[0])


TRUE_FORWARD, TRUE_ANGLES = decoder_only.CachedDecoder.forward, decoder_only.Angles.forward


@pytest.mark.parametrize("mistake", ["scaling", "mask", "positions", "halves"])
def test_a_wrong_decoder_is_refused(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = long_llama()
    one = opened(model)
    if mistake == "scaling":
        other = long_llama()
        other.model.layers[1].self_attn.scaling *= 1.1
        one = opened(other)
    elif mistake == "mask":  # padding is at the end, where no token that counts looks: only a mask in front shows it
        monkeypatch.setattr(decoder_only.CachedDecoder, "forward", unmasked)
    elif mistake == "positions":  # whole texts are right, steps are not
        monkeypatch.setattr(decoder_only.Angles, "forward", frozen)
    else:
        monkeypatch.setattr(decoder_only, "rotated", lambda x, cos, sin: x * torch.cat([cos, cos], -1))
    batch = dict(prompt(model))
    if mistake == "mask":
        batch["attention_mask"] = batch["attention_mask"].flip(1)
    expected = r"step 2 \(batch of 1, 1 at a time\)" if mistake == "positions" else r"batch 1: logits"
    with pytest.raises(CertificateError, match=expected):
        verify_pass(model, task_of(model), one, [batch])


def test_what_does_not_belong_together(tokenizer: PreTrainedTokenizerFast, marian: Any, tmp_path: Path) -> None:
    bert, resnet, out = dense("bert-classifier"), dense("resnet"), tmp_path / "out"
    with pytest.raises(InputError, match="a tokeniser for a ResNet, whose task image-classification reads no text"):
        export(resnet, tokenizer, out)
    with pytest.raises(InputError, match="sentences for a ResNet"):
        export(resnet, None, out, SENTENCES)
    with pytest.raises(InputError, match="sentences for a BertForSequenceClassification, but no tokeniser"):
        export(bert, None, out, SENTENCES)
    with pytest.raises(InputError, match=r"batch 2 gives a Bert\w+ pixel_values; expected input_ids, attention_mask"):
        export(bert, None, out, batches=[prompt(bert), prompt(resnet)])
    with pytest.raises(InputError, match="batches for a MarianMTModel: a translation model is checked on sentences"):
        export(marian, tokenizer, out, SENTENCES, batches=[prompt(bert)])
    with pytest.raises(InputError, match="cannot export this Linear: Linear is made for no known task"):
        export(nn.Linear(2, 2), None, out)
    sizes = {f"num_{stack}_{what}": 1 for stack in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    other = ProphetNetForConditionalGeneration(ProphetNetConfig(hidden_size=8, vocab_size=20, **sizes))
    with pytest.raises(
        InputError,
        match="cannot export this ProphetNetForConditionalGeneration: no graphs are known of this "
        "encoder-decoder; expected one of BartForConditionalGeneration, M2M100For",
    ):
        export(other, None, out)
    assert not out.exists()
    check_exportable(bert, None, [])


def test_rotations_that_depend_on_the_length_are_refused() -> None:
    model = long_llama()
    model.model.rotary_emb.rope_type = "dynamic"
    with pytest.raises(InputError, match="cannot export this LlamaForCausalLM: its rotary positions are 'dynamic'"):
        skeleton_of(model)


def test_inputs_that_the_model_does_not_take() -> None:
    one = opened(dense("llama"))
    ids = np.ones((2, 5), np.int64)
    with pytest.raises(InputError, match="language-modelling: attention_mask is missing; expected input_ids, att"):
        one.logits({"input_ids": ids})
    with pytest.raises(InputError, match="input 'pixels'; expected input_ids, attention_mask"):
        one.logits({"input_ids": ids, "attention_mask": ids, "pixels": ids})
    with pytest.raises(InputError, match="5 tokens and a mask of 4; expected the same"):
        one.logits({"input_ids": ids, "attention_mask": ids[:, :4]})
    with pytest.raises(InputError, match=r"total 31; expected 1 to 30"):
        one.logits({name: np.ones((1, 31), np.int64) for name in ("input_ids", "attention_mask")})
    with pytest.raises(InputError, match="text-classification takes no steps"):
        opened(dense("bert-classifier")).start(1)
    images = opened(dense("resnet"))
    with pytest.raises(InputError, match=r"pixel_values has shape \(1, 3, 8, 8\); expected \(1, 3, 32, 32\)"):
        images.logits({"pixel_values": np.zeros((1, 3, 8, 8), np.float32)})


def test_steps_are_taken_and_peeked_at() -> None:
    one = opened(long_llama())
    ids = np.random.default_rng(0).integers(3, 30, (2, 9))
    whole = one.logits({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    steps = one.start(2)
    np.testing.assert_allclose(steps.logits(ids[:, :6]), whole[:, :6], atol=1e-4)
    for _ in range(2):  # peeking changes nothing
        np.testing.assert_allclose(steps.peek(ids[:, 6:7]), whole[:, 6:7], atol=1e-4)
    steps.take(np.array([1]))
    np.testing.assert_allclose(steps.logits(ids[1:, 6:]), whole[1:, 6:], atol=1e-4)


def test_a_layout_comes_back_as_it_was_written(tmp_path: Path) -> None:
    for name in NAMES:
        layout = opened(dense(name)).layout
        layout.write(tmp_path)
        assert read_layout(tmp_path) == layout


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"dims": ["batch", 10**12]}, "input_ids.dims is 1000000000000; expected a whole number of 0 to 10,000,000"),
        ({"dtype": "object"}, "input_ids.dtype is 'object'; expected one of int64"),
        ({"name": "attention_mask"}, "the inputs of graph decoder are .* expected names that differ"),
    ],
)
def test_graphs_that_no_export_wrote(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    opened(dense("llama")).layout.write(tmp_path)
    raw = json.loads((tmp_path / "layout.json").read_text())
    raw["graphs"][0]["inputs"][0] |= change
    (tmp_path / "layout.json").write_text(json.dumps(raw))
    with pytest.raises(InputError, match=rf"layout\.json: {text}"):
        read_layout(tmp_path)
    raw["graphs"][0]["inputs"][0] |= {"name": "input_ids", "dims": ["batch", "tokens"], "dtype": "int64", "fill": 0}
    raw["graphs"][0]["states"][0][1] = "nowhere"
    (tmp_path / "layout.json").write_text(json.dumps(raw))
    with pytest.raises(InputError, match="a state of graph decoder is 'past_key_0' to 'nowhere'"):
        read_layout(tmp_path)


def test_the_signature_of_a_pruned_llama() -> None:
    """The first attention is gone; its neighbours keep unequal numbers of key-value heads."""
    signature = opened(pruned("llama")).graph
    layers = [layer for _, layer in decoder_only.attentions(pruned("llama"))]
    assert [before for before, _ in signature.states][:2] == ["past_key_1", "past_value_1"]
    assert [spec.dims[1] for spec in signature.past][::2] == [decoder_only.heads_of(each).kv for each in layers]
    cache = LayerCache(1, 2, 4, 4)
    assert decoder_only.signature_of([cache]).past == cache.inputs("past", "past")


def test_opening_needs_no_torch() -> None:
    imports = "import sys, tprune.runtimes.opened, tprune.runtimes.one_pass, tprune.bench.worker"
    code = f"{imports}; print({{'torch', 'transformers'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_a_text_model_is_exported_with_its_tokeniser(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=40,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = BertForSequenceClassification(config).eval()
    randomise_(model)
    report = export(model, tokenizer, tmp_path / "out", SENTENCES)
    assert report.inputs == len(SENTENCES) and "tokenizer.json" in report.files
