"""Rounding in PyTorch is that of the exported files: the same logits, far closer than int8 is to fp32."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from small_models import small_batch, small_model
from tprune.analysis import integers
from tprune.analysis.int8_loss import sensitive
from tprune.analysis.integers import round_inputs, rounded
from tprune.analysis.loss_curves import token_loss_on
from tprune.core.known_tasks import task_of
from tprune.core.precision import INT8, Precision
from tprune.families.graphs.graph import skeleton_of
from tprune.runtimes.export import export
from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.onnxruntime.engine import ONNXRUNTIME
from tprune.runtimes.roundable import roundable, whole_products
from tprune.support.errors import InputError

KEYS = "model.decoder.layers.1.encoder_attn.k_proj.weight"


@pytest.fixture(scope="module")
def classifier() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 60}
    model = BertForSequenceClassification(BertConfig(num_hidden_layers=2, **sizes)).eval()
    for parameter in model.parameters():
        parameter.data.mul_(3 if parameter.ndim > 1 else 1)
    return model


def one_text() -> dict[str, torch.Tensor]:
    ids = torch.randint(3, 60, (1, 9), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor([1])}


@pytest.mark.slow
@pytest.mark.parametrize("kept", [(), ("bert.encoder.layer.0.output.dense.weight", "classifier.weight")])
def test_a_classifier_computes_as_its_export(classifier: Any, kept: tuple[str, ...], tmp_path: Path) -> None:
    batch, task = one_text(), task_of(classifier)
    whole = task.run(classifier, batch).logits.detach().numpy()
    chosen = [one for one in roundable(classifier) if not set(one.names) & set(kept)]
    with rounded(classifier, chosen):
        here = task.run(classifier, batch).logits.detach().numpy()
    assert np.array_equal(task.run(classifier, batch).logits.detach().numpy(), whole)
    export(classifier, None, tmp_path / "out", batches=[batch], precision=Precision("int8", kept), thorough=False)
    there = OnePass.load(tmp_path / "out").logits({name: x.numpy() for name, x in task.prompt(batch).items()})
    assert np.abs(here - there).max() < 1e-5 < 1e-4 < np.abs(whole - there).max()


def steps(model: Any, folder: Path, batch: Any) -> np.ndarray:
    """Logits of the steps of an exported int8 model that is fed the labels of one sentence."""
    task = task_of(model)
    graphs = skeleton_of(model).graphs(model, task, task.prompt(batch), "onnx23")
    ONNXRUNTIME.write(graphs, folder, INT8)
    encoder, decoder = (onnxruntime.InferenceSession(folder / f"{graph.name}.onnx") for graph in graphs)
    names = [[spec.name for spec in graph.signature.inputs] for graph in graphs]
    mask = batch["attention_mask"].numpy()
    crossing = encoder.run(None, dict(zip(names[0], [batch["input_ids"].numpy(), mask], strict=True)))
    fed = [model.config.decoder_start_token_id, *batch["labels"][0, :-1].tolist()]
    past = [np.zeros((1, 2, 0, 8), np.float32)] * (2 * model.config.decoder_layers)
    found = []
    for position, token in enumerate(fed):
        given = [np.array([[token]]), np.array([position]), mask, *crossing, *past]
        logits, *past = decoder.run(None, dict(zip(names[1], given, strict=True)))
        found.append(logits[0])
    return np.array(found)


@pytest.mark.slow
def test_a_decoder_computes_as_the_steps_of_its_export(tmp_path: Path) -> None:
    model = small_model("marian").float()
    batch = small_batch(1)
    task = task_of(model)
    whole = task.run(model, batch).logits.detach().numpy()[0]
    sliced = "model.encoder.embed_positions.weight"  # which the export leaves alone
    with rounded(model, [one for one in roundable(model) if one.names != (sliced,)]):
        here = task.run(model, batch).logits.detach().numpy()[0]
    there = steps(model, tmp_path, batch)
    assert np.abs(here - there).max() < 1e-5 < 1e-2 < np.abs(whole - there).max()


@pytest.mark.slow
def test_another_scale_shows(classifier: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integers, "LEVELS", 254)
    with pytest.raises(AssertionError):
        test_a_classifier_computes_as_its_export(classifier, (), tmp_path)


def test_inputs_are_rounded_row_by_row_and_keep_zero() -> None:
    x = torch.tensor([[0.0, 0.3, 2.55], [0.0, -100.0, 155.0]])
    found = round_inputs(x, (1,))
    assert torch.allclose(found, torch.tensor([[0.0, 0.3, 2.55], [0.0, -100.0, 155.0]]))
    assert not torch.allclose(round_inputs(x, (0, 1))[0], found[0])


def test_products_of_several_weights_stay_together() -> None:
    model = small_model("marian")
    assert whole_products(model, [KEYS]) == (KEYS, KEYS.replace("k_proj", "v_proj"))
    assert whole_products(model, ["lm_head.weight"]) == ("model.shared.weight",)
    with pytest.raises(InputError, match="no parameter is called 'nothing'"):
        whole_products(model, ["nothing"])


def test_the_weight_that_int8_harms_is_the_one_that_stays() -> None:
    model = small_model("marian").float()
    harmed = "model.decoder.layers.2.fc2.weight"
    weight = model.get_parameter(harmed)
    weight.data[:, 0] = 300 * weight.data.abs().max()  # an outlier in every row: what is left rounds to 0
    model.model.decoder.layers[2].fc1.weight.data[0] = 0
    model.model.decoder.layers[2].fc1.bias.data[0] = 0
    batches, before = [small_batch()], {name: x.clone() for name, x in model.state_dict().items()}
    free = sensitive(model, batches, 100.0)
    assert free.exceptions == () and free.precision == INT8 and not free.alone
    limit = free.whole / 4
    found = sensitive(model, batches, limit)
    assert found.exceptions == (harmed,) and max(found.alone, key=lambda one: found.alone[one]) == harmed
    assert found.added <= limit < found.whole
    chosen, loss = [one for one in roundable(model) if harmed not in one.names], token_loss_on(batches)
    whole = loss(model)
    with rounded(model, chosen):
        assert loss(model) - whole == pytest.approx(found.added)
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    assert sensitive(model, batches, 100.0, keep=whole_products(model, [KEYS])).exceptions == (
        KEYS,
        KEYS.replace("k_proj", "v_proj"),
    )
    with pytest.raises(InputError, match="0 batches and a limit of -1"):
        sensitive(model, [], -1.0)
