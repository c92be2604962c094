"""What OpenVINO computes is what PyTorch computes; what its kernels get wrong is mended, and found where it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import torch
from onnx_models import SENTENCES, teach_
from transformers import AutoTokenizer, MarianMTModel, ViTConfig, ViTForImageClassification

from table_models import kept_by, table_model
from tprune.core.precision import FP32, INT8_WEIGHTS, Precision
from tprune.data.parallel import read_lines
from tprune.realise.shrink import shrink
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.certificate import ExportCertificate
from tprune.runtimes.export import export
from tprune.runtimes.openvino import lower
from tprune.runtimes.openvino.engine import OPENVINO
from tprune.runtimes.openvino.package import openvino
from tprune.runtimes.openvino.settings import lacks, settings
from tprune.runtimes.steps import EncoderDecoderEngine
from tprune.runtimes.translator import Translator
from tprune.support.errors import CertificateError, InputError, TpruneWarning
from tprune.tasks.translation.encoding import MarianSize, new_model
from tprune.testing import check_runtime, randomise_

pytestmark = pytest.mark.runtimes
KEYS = 16  # from here on attention without a mask is wrong


def llama() -> Any:
    model = table_model("llama")
    gone = ("model.layers.0.self_attn.sublayer", "model.layers.2.mlp.sublayer")
    return shrink(model, kept_by(model, ("heads", "ffn", "sublayer", "width"), gone=gone))


def vit() -> Any:
    """Patches of an image, with a class token and learned positions."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    model = ViTForImageClassification(ViTConfig(**sizes, image_size=16, patch_size=4, num_labels=5))
    randomise_(model)
    return model


PASSES: Mapping[str, Callable[[], Any]] = {
    "bert": lambda: table_model("bert-classifier"),
    "resnet": lambda: table_model("resnet"),
    "vit": vit,
    "llama": lambda: table_model("llama"),
    "pruned llama": llama,
}


def unmended(model: Any) -> int:
    """In place of `add_zero_masks`."""
    return 0


def steps(session: Any, folder: Path, length: int) -> Any:
    """The logits of steps from an empty cache."""
    opened = Translator.load(folder)
    ids = np.array(opened.encode(SENTENCES[:1]), np.int64)
    state = EncoderDecoderEngine(opened.layout, session).start(ids, np.ones_like(ids))
    return np.stack([state.logits(np.array([3 + step])) for step in range(length)])


def off(found: Any, expected: Any) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_attention_without_a_mask_is_wrong_from_sixteen_keys_on(
    marian: Any, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of openvino: once this fails, the zero masks are no longer needed."""
    export(marian, tokenizer, tmp_path / "right", SENTENCES[:1], OPENVINO, thorough=False)
    monkeypatch.setattr(lower, "add_zero_masks", unmended)
    marian.generation_config.max_length = 10
    export(marian, tokenizer, tmp_path / "wrong", SENTENCES[:1], OPENVINO, thorough=False)  # short checks pass
    opened = {name: OPENVINO.open(tmp_path / name, read_layout(tmp_path / name), 1) for name in ("right", "wrong")}
    right, wrong = (steps(opened[name], tmp_path / name, 30) for name in ("right", "wrong"))
    assert off(wrong[: KEYS - 1], right[: KEYS - 1]) < 1e-5
    assert off(wrong[KEYS - 1], right[KEYS - 1]) > 1e-2 and off(wrong[-1], right[-1]) > 1e-2
    warm = OPENVINO.open(tmp_path / "wrong", read_layout(tmp_path / "wrong"), 1)
    graph = read_layout(tmp_path / "wrong").graph("decoder")
    sizes = {dim: 1 for spec in graph.inputs for dim in spec.dims if isinstance(dim, str)}
    warm.run("decoder", {spec.name: np.ones(spec.shape(sizes), spec.dtype) for spec in graph.inputs}, graph.outputs)
    assert off(steps(warm, tmp_path / "wrong", 30), right) < 1e-5  # where the first inference had a key before it


def test_steps_of_a_fresh_process_find_attention_without_a_mask(
    marian: Any, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lower, "add_zero_masks", unmended)
    marian.generation_config.max_length = 10
    with pytest.raises(CertificateError, match=rf"step {KEYS} \(batch of 1\) of a fresh process: logits differ by"):
        export(marian, tokenizer, tmp_path / "out", SENTENCES[:2], OPENVINO)
    assert not (tmp_path / "out").exists()


def test_translation_models(model: Any, tokenizer: Any) -> None:
    check_runtime(OPENVINO, model, tokenizer, SENTENCES[:3])


@pytest.mark.parametrize("precision", [FP32, INT8_WEIGHTS], ids=str)
@pytest.mark.parametrize("name", list(PASSES))
def test_models_that_run_in_one_pass(name: str, precision: Precision) -> None:
    check_runtime(OPENVINO, PASSES[name]().float().eval(), None, precision=precision)


def test_weights_stay_in_eight_bits_but_for_exceptions(marian: Any, tokenizer: Any, tmp_path: Path) -> None:
    """In memory too: the products that are compiled read integers."""
    kept = "model.decoder.layers.1.self_attn.k_proj.weight"
    out, precision = tmp_path / "out", Precision("int8-weights", (kept,))
    export(marian, tokenizer, out, SENTENCES[:2], OPENVINO, precision=precision)
    products = ExportCertificate.read(out).products
    parameters = dict(marian.named_parameters())
    fp32 = {name: product.why for product in products for name in product.weights if product.precision == "fp32"}
    assert fp32.pop("model.encoder.embed_positions.weight") == "read by Slice"
    assert set(fp32.values()) == {"an exception"} and kept in fp32 and len(fp32) == 3  # the three in one product
    assert {name for product in products for name in product.weights} <= set(parameters)
    assert {p.precision for p in products if "model.shared.weight" in p.weights} == {"int8-weights"}
    compiled = openvino().Core().compile_model(out / "decoder.xml", "CPU", settings("int8-weights", 1))
    read = [_read(node) for node in compiled.get_runtime_model().get_ops() if _kind(node) == "FullyConnected"]
    assert read.count("f32") == 1 and read.count("i8") == len(read) - 1 == 18
    with pytest.raises(InputError, match="no parameter is called 'lm_hat'"):
        export(marian, tokenizer, out, SENTENCES[:2], OPENVINO, precision=Precision("int8-weights", ("lm_hat",)))


def _kind(node: Any) -> Any:
    return node.get_rt_info()["layerType"].value


def _read(node: Any) -> Any:
    return node.get_rt_info()["runtimePrecision"].value


@pytest.mark.parametrize("name", ["int8", "bf16"])
def test_precisions_that_need_a_processor(name: str, tokenizer: Any, tmp_path: Path) -> None:
    """What the processor multiplies is what the layout says: opened as another precision, the files compute it."""
    if why := lacks(name):
        pytest.skip(why)
    model = new_model(MarianSize(64, (1, 1), 4, 128, len(tokenizer), 0.1, 40), len(tokenizer))
    teach_(model, tokenizer)
    out = tmp_path / "out"
    export(model.eval(), tokenizer, out, SENTENCES[:2], OPENVINO, precision=Precision(name))
    layout = read_layout(out)
    less = replace(layout, precision=INT8_WEIGHTS if name == "int8" else FP32)
    full, weights = (steps(OPENVINO.open(out, each, 1), out, 5) for each in (layout, less))
    assert 1e-4 < off(full, weights) < 0.1
    products = ExportCertificate.read(out).products
    assert {p.precision for p in products if "model.decoder.layers.0.fc2.weight" in p.weights} == {name}
    assert sum(p.bytes for p in products) < (2.6 if name == "bf16" else 1.7) * sum(np.prod(p.shape) for p in products)


@pytest.mark.parametrize(("name", "less"), [("int8", INT8_WEIGHTS), ("bf16", FP32)], ids=["int8", "bf16"])
def test_a_folder_for_another_processor_falls_back_and_says_so(
    name: str, less: Precision, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the instructions it computes what the same files compute in the lesser precision."""
    if why := lacks(name):
        pytest.skip(why)
    out = tmp_path / "out"
    model = new_model(MarianSize(64, (1, 1), 4, 128, len(tokenizer), 0.1, 40), len(tokenizer))
    teach_(model, tokenizer)
    export(model.eval(), tokenizer, out, SENTENCES[:2], OPENVINO, precision=Precision(name), thorough=False)
    layout = read_layout(out)
    full = steps(OPENVINO.open(out, layout, 1), out, 5)
    expected = steps(OPENVINO.open(out, replace(layout, precision=less), 1), out, 5)
    monkeypatch.setattr("tprune.runtimes.openvino.settings.processor_features", lambda: frozenset({"avx2"}))
    says = rf"out: exported in {name}, but this processor has no instructions for {name} .*; runs in {less.name}$"
    with pytest.warns(TpruneWarning, match=says):
        opened = OPENVINO.open(out, layout, 1)
        found = steps(opened, out, 5)
    assert off(found, expected) < 1e-6 < 1e-4 < off(full, expected)


def test_opening_needs_neither_torch_nor_onnx(marian: Any, tokenizer: Any, tmp_path: Path) -> None:
    export(marian, tokenizer, tmp_path / "out", SENTENCES[:2], OPENVINO, thorough=False)
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnxruntime', 'transformers', 'openvino_telemetry'): sys.modules[name] = None\n"
        "from tprune.runtimes.translator import Translator\n"
        f"print(Translator.load({str(tmp_path / 'out')!r}).translate(['a dog']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(Translator.load(tmp_path / "out").translate(["a dog"]))
    (tmp_path / "out" / "decoder.xml").write_text("<net")
    with pytest.raises(InputError, match=r"decoder\.xml: openvino cannot load it"):
        OPENVINO.open(tmp_path / "out", read_layout_of(tmp_path / "out"), 1)


def read_layout_of(folder: Path) -> Any:
    """The layout of a folder whose files were changed."""
    path = folder / "layout.json"
    raw = json.loads(path.read_text())
    raw["files"].pop("decoder.xml")
    path.write_text(json.dumps(raw))
    layout = read_layout(folder)
    return replace(layout, files=replace(layout.files, stamps={**layout.files.stamps, "decoder.xml": None}))


def test_a_trained_model_translates_as_well(trained: tuple[Path, tuple[str, ...]], tmp_path: Path) -> None:
    folder, source = trained
    source = source[:32]
    references = read_lines(Path(os.environ["TPRUNE_DATA"], "multi30k/test_2016_flickr.de.gz"))[:32]
    model, tokenizer = MarianMTModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    export(model, tokenizer, tmp_path / "onnx", source[:1], thorough=False)
    expected = Translator.load(tmp_path / "onnx").translate(source)
    scores = {"onnxruntime": sacrebleu.corpus_bleu(expected, [references]).score}
    for precision in (FP32, INT8_WEIGHTS):
        out = tmp_path / precision.name
        export(model, tokenizer, out, source[:2], OPENVINO, precision=precision)
        found = Translator.load(out).translate(source)
        scores[precision.name] = sacrebleu.corpus_bleu(found, [references]).score
        same = sum(a == b for a, b in zip(found, expected, strict=True))
        assert same >= (31 if precision.exact else 20), scores  # a tie may fall the other way
    print(scores)
    assert abs(scores["fp32"] - scores["onnxruntime"]) < 0.5 and abs(scores["int8-weights"] - scores["fp32"]) < 2
