"""Exported graphs in integers: names of constants, errors, and a trained model's translations."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx_models import EXTRA, bart, pruned_marian, stock_marian
from torch import nn
from transformers import MarianMTModel

from table_models import kept_by, table_model
from tprune.core.known_tasks import task_of
from tprune.families.graphs.encoder_decoder import ENCODER_DECODER
from tprune.families.graphs.graph import Graph, skeleton_of
from tprune.realise.shrink import shrink
from tprune.runtimes.export import export
from tprune.runtimes.onnxruntime.engine import OnnxSession, _session
from tprune.runtimes.onnxruntime.forms import FORMS, blocks_of_8
from tprune.runtimes.onnxruntime.int8 import Constant
from tprune.runtimes.onnxruntime.lower import lower
from tprune.runtimes.onnxruntime.quantize import quantize
from tprune.runtimes.onnxruntime.sites import Reading, Refused, sites
from tprune.runtimes.steps import EncoderDecoderEngine
from tprune.runtimes.translator import Translator
from tprune.support.errors import InputError

ROWS = (0, 1, 2, 5, 7, 50)  # a short list of tokens
MODELS: Mapping[str, Callable[[], Any]] = {
    "marian": lambda: stock_marian(120),
    "uneven": lambda: pruned_marian(stock_marian(120), {}),
    "narrow": lambda: pruned_marian(stock_marian(120), EXTRA["narrow"]),
    "gathered": lambda: pruned_marian(stock_marian(120), EXTRA["gathered"]),
    "bart": lambda: bart(120),
    **{name: partial(table_model, name) for name in ("bert-classifier", "resnet", "llama", "llama-biases")},
    "bert, pruned": lambda: shrunk("bert-classifier", "heads", "qk", "vo", "ffn", "sublayer", "width"),
    "llama, pruned": lambda: shrunk("llama", "heads", "ffn", "sublayer", "width"),
    "resnet, pruned": lambda: shrunk("resnet", "channels"),
}
LIMITS = {"int8": 0.08, "int8-weights": 0.05, "int4-weights": 0.5}
SIZES = {"batch": 3, "tokens": 4, "past": 2, "total": 6, "source": 5}


def shrunk(name: str, *kinds: str) -> nn.Module:
    model = table_model(name)
    return shrink(model, kept_by(model, kinds))


def graphs(model: Any, rows: tuple[int, ...] = ()) -> tuple[Graph, ...]:
    task = task_of(model)
    return skeleton_of(model).graphs(model, task, task.prompt(task.random(model)), "onnx23", rows)


def feeds(graph: Graph) -> Iterator[tuple[str, np.ndarray]]:
    random = np.random.default_rng(0)
    for spec in graph.signature.inputs:
        shape = spec.shape(SIZES)
        if spec.dtype == "float32":
            yield spec.name, random.standard_normal(shape).astype(np.float32)
        else:
            yield (
                spec.name,
                {"attention_mask": np.ones(shape, np.int64), "position": np.array([2])}.get(
                    spec.name, random.integers(0, len(ROWS), shape) if "ids" in spec.name else np.zeros(shape, np.int64)
                ),
            )


def run(path: Path, graph: Graph) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 2
    found: list[np.ndarray] = onnxruntime.InferenceSession(str(path), options).run(None, dict(feeds(graph)))
    return found


def unnamed(rows: tuple[Constant, ...], model: nn.Module) -> list[Constant]:
    """The constants of products that are called otherwise than parameters of the model."""
    known = {name for name, _ in model.named_parameters()}
    return [row for row in rows if row.precision != "fp32" and not known.issuperset(row.names)]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_exported_graphs_in_integers(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = MODELS[name]().float().eval()
    matrices = {each for each, p in model.named_parameters() if p.ndim > 1}
    seen: set[str] = set()
    for graph in graphs(model, ROWS if name == "uneven" else ()):
        path, out = tmp_path / f"{graph.name}.onnx", tmp_path / "out.onnx"
        lower(graph, path)
        expected, before = run(path, graph), path.read_bytes()
        for form, limit in LIMITS.items():
            rows = quantize(graph, path, out, FORMS[form])
            assert not unnamed(rows, model)
            seen |= {each for row in rows for each in row.names}
            errors = [np.abs(a - b).max() / np.abs(a).max() for a, b in zip(expected, run(out, graph), strict=True)]
            assert 0 < max(errors) < limit
            left = [row for row in rows if row.precision == "fp32" and len(row.shape) > 1]
            assert {row.operators for row in left} <= {("Slice",), ("Mul",)}  # positions
            assert not [each for each in sites(Reading.of(onnx.load(out).graph)) if isinstance(each, Refused)]
        assert path.read_bytes() == before
    assert matrices <= seen  # each matrix of the model is in a row
    assert "[W:" not in capfd.readouterr().err


@pytest.mark.slow
def test_parameters_are_kept_by_any_of_their_names(tmp_path: Path) -> None:
    model = stock_marian(120)
    encoder, decoder = graphs(model)
    lower(decoder, tmp_path / "decoder.onnx")
    keep = ["lm_head.weight", "model.decoder.layers.1.self_attn.k_proj.weight"]
    rows = quantize(decoder, tmp_path / "decoder.onnx", tmp_path / "out.onnx", FORMS["int8"], keep)
    parts = tuple(f"model.decoder.layers.1.self_attn.{part}_proj.weight" for part in "qkv")
    assert {row.names for row in rows if row.why == "kept by name"} == {("model.shared.weight",), parts}
    with pytest.raises(InputError, match=r"no parameter is called 'lm_head'; expected names .* model\.shared\.weight"):
        quantize(encoder, tmp_path / "decoder.onnx", tmp_path / "out.onnx", FORMS["int8"], ["lm_head"])


@pytest.mark.slow
def test_a_trained_model_translates_as_before(trained: tuple[Path, tuple[str, ...]], tmp_path: Path) -> None:
    from sacrebleu import corpus_bleu
    from transformers import AutoTokenizer

    from tprune.data.parallel import read_lines

    folder, sentences = trained
    sentences = sentences[:200]
    model = MarianMTModel.from_pretrained(folder, dtype=torch.float32).eval()
    export(model, AutoTokenizer.from_pretrained(folder), tmp_path / "out", sentences[:1])
    dense = Translator.load(tmp_path / "out")
    both = ENCODER_DECODER.graphs(model, task_of(model), {}, "onnx23")

    def in_form(**given: Any) -> Translator:
        for graph in both:
            source, path = tmp_path / "out" / f"{graph.name}.onnx", tmp_path / f"{graph.name}.onnx"
            quantize(graph, source, path, given[graph.name])
            assert source.stat().st_size / path.stat().st_size > 3.5
        opened = OnnxSession({graph.name: _session(tmp_path / f"{graph.name}.onnx", 1) for graph in both})
        return replace(dense, engine=EncoderDecoderEngine(dense.layout, opened))

    references = read_lines(Path(os.environ["TPRUNE_DATA"], "multi30k/test_2016_flickr.de.gz"))[:200]

    def bleu(translator: Translator) -> float:
        return float(corpus_bleu(translator.translate(sentences, beams=1), [list(references)]).score)

    before = bleu(dense)
    assert before > 20
    assert abs(bleu(in_form(encoder=FORMS["int8"], decoder=FORMS["int8"])) - before) < 1
    assert abs(bleu(in_form(encoder=FORMS["int8"], decoder=blocks_of_8)) - before) < 1
    assert abs(bleu(in_form(encoder=FORMS["int8-weights"], decoder=FORMS["int8-weights"])) - before) < 1
