"""What ExecuTorch computes with XNNPACK's kernels is what PyTorch computes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_models import EXTRA, SENTENCES, bart, pruned_marian, randomise_, teach_
from transformers import ViTConfig, ViTForImageClassification

from table_models import kept_by, table_model
from tprune import testing
from tprune.core.precision import FP32, INT8, Precision
from tprune.realise.shrink import shrink
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.certificate import ExportCertificate
from tprune.runtimes.executorch import lower
from tprune.runtimes.executorch.engine import EXECUTORCH
from tprune.runtimes.executorch.sizes import ROWS
from tprune.runtimes.export import export
from tprune.runtimes.opened import open_exported
from tprune.runtimes.translator import Translator
from tprune.support.errors import InputError
from tprune.tasks.translation.encoding import MarianSize, new_model
from tprune.testing import check_runtime

pytestmark = [pytest.mark.runtimes, pytest.mark.xdist_group("executorch")]  # one process lowers what several need


@pytest.fixture(scope="module")
def taught(tokenizer: Any) -> Any:
    """A layer on each side: lowering takes seconds a layer."""
    model = new_model(MarianSize(32, (1, 1), 4, 48, len(tokenizer), 0.1, 64), len(tokenizer))
    randomise_(model)
    teach_(model, tokenizer)
    return model.eval()


@pytest.fixture
def small(taught: Any) -> Any:
    return copy.deepcopy(taught)


def llama() -> Any:
    model = table_model("llama")
    gone = ("model.layers.0.self_attn.sublayer", "model.layers.2.mlp.sublayer")
    return shrink(model, kept_by(model, ("heads", "ffn", "sublayer", "width"), gone=gone))


def vit() -> Any:
    """Patches of an image, with a class token and learned positions."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    model = ViTForImageClassification(ViTConfig(**sizes, image_size=16, patch_size=4, num_labels=5))
    testing.randomise_(model)
    return model


PASSES: Mapping[str, Callable[[], Any]] = {
    "bert": lambda: table_model("bert-classifier"),
    "resnet": lambda: table_model("resnet"),
    "vit": vit,
    "pruned llama": llama,
}


@pytest.mark.parametrize("precision", [FP32, INT8], ids=str)
def test_translation_models(small: Any, tokenizer: Any, precision: Precision) -> None:
    """Certified in 48 forced steps of a fresh process, in both tiers; steps of a batch are those of its rows."""
    check_runtime(EXECUTORCH, small, tokenizer, SENTENCES[:3], precision=precision)


@pytest.mark.parametrize("name", ["uneven", "gathered", "bart"])
def test_pruned_models_and_bart(name: str, marian: Any, tokenizer: Any, tmp_path: Path) -> None:
    other = bart(len(tokenizer)) if name == "bart" else pruned_marian(marian, EXTRA.get(name, {}))
    teach_(other, tokenizer)
    report = export(other.eval(), tokenizer, tmp_path / "out", SENTENCES[:2], EXECUTORCH)
    assert report.max_relative_error < 1e-5 and report.greedy_equal + report.greedy_ties == 2


@pytest.mark.parametrize("precision", [FP32, INT8], ids=str)
@pytest.mark.parametrize("name", list(PASSES))
def test_models_that_run_in_one_pass(name: str, precision: Precision) -> None:
    check_runtime(EXECUTORCH, PASSES[name]().float().eval(), None, precision=precision)


def test_linear_maps_are_integers_but_for_exceptions(small: Any, tokenizer: Any, tmp_path: Path) -> None:
    kept = "model.decoder.layers.0.self_attn.k_proj.weight"
    out, precision = tmp_path / "out", Precision("int8", (kept,))
    export(small, tokenizer, out, SENTENCES, EXECUTORCH, precision=precision, thorough=False)
    products = ExportCertificate.read(out).products
    fp32 = {name: product.why for product in products for name in product.weights if product.precision == "fp32"}
    looked_up = {"model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight", "model.shared.weight"}
    assert {name for name, why in fp32.items() if why == "rows are looked up"} == looked_up
    excepted = {name for name, why in fp32.items() if why == "an exception"}
    assert kept in excepted and len(excepted) == 3  # the three in one product
    assert set(fp32) == looked_up | excepted and set(fp32) <= set(dict(small.named_parameters()))
    tied = [product.precision for product in products if product.weights == ("model.shared.weight",)]
    assert sorted(tied) == ["fp32", "fp32", "int8"]  # two lookups and the output layer, each stored
    with pytest.raises(InputError, match="no parameter is called 'lm_hat'"):
        export(small, tokenizer, out, SENTENCES[:2], EXECUTORCH, precision=Precision("int8", ("lm_hat",)))


def test_more_rows_than_memory_is_planned_for(small: Any, tokenizer: Any, tmp_path: Path) -> None:
    """Also: a file that is no program is refused by name."""
    out = tmp_path / "out"
    export(small, tokenizer, out, SENTENCES[:1], EXECUTORCH, thorough=False)
    opened = open_exported(out)
    assert isinstance(opened, Translator)
    ids = opened.encode(SENTENCES) * 2
    assert len(ids) > ROWS
    assert opened.greedy(ids) == [opened.greedy([row])[0] for row in ids]
    layout = read_layout(out)
    (out / "decoder.pte").write_bytes(b"no program at all")
    with pytest.raises(InputError, match=r"decoder\.pte: executorch cannot load it"):
        EXECUTORCH.open(out, layout, 1)


def test_a_batch_that_is_no_longer_free_is_seen(
    small: Any, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of executorch 1.5.1: once this fails, its check of operators may be made again.

    A size that is no longer free is seen in the lowered graph, or, inside of it, when the graph runs.
    """
    monkeypatch.setattr(lower, "CHECKED", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))  # what is kept would not be lowered again
    with pytest.raises(InputError, match=r"became 2; expected it to stay|no larger sizes than it was exported"):
        export(small, tokenizer, tmp_path / "out", SENTENCES[:1], EXECUTORCH, thorough=False)
    assert not (tmp_path / "out").exists()


def test_integers_are_computed_as_such(small: Any, tokenizer: Any, tmp_path: Path) -> None:
    """Both files of one model, fed the same: near, not equal."""
    found: dict[str, Any] = {}
    ids = np.array([[5, 6, 7, 8, 1]])
    for precision in (FP32, INT8):
        out = tmp_path / precision.name
        export(small, tokenizer, out, SENTENCES[:1], EXECUTORCH, precision=precision, thorough=False)
        session = EXECUTORCH.open(out, read_layout(out), 1)
        found[precision.name] = session.run(
            "encoder",
            {"input_ids": ids, "attention_mask": np.ones_like(ids)},
            read_layout(out).graph("encoder").outputs,
        )[0]
    error = np.abs(found["int8"] - found["fp32"]).max() / np.abs(found["fp32"]).max()
    assert 1e-4 < error < 0.1
