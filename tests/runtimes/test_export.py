import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx_models import SENTENCES
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertForPreTraining, MarianMTModel

from tprune.counting.output_rows import written_rows
from tprune.families.graphs import encoder_decoder as onnx_graphs
from tprune.families.graphs.encoder_decoder import DecoderStep, Encoder, past_of, stacks_of
from tprune.families.graphs.graph import Graph
from tprune.families.graphs.stacks import cross_attentions
from tprune.families.modeling.modeling_pruned import NarrowLayerNorm
from tprune.runtimes.artefact import read_translation
from tprune.runtimes.export import check_exportable, export
from tprune.runtimes.generation_settings import generation_of
from tprune.runtimes.onnxruntime import engine as onnx_runtime
from tprune.runtimes.onnxruntime.engine import OnnxRuntime
from tprune.runtimes.translator import Translator
from tprune.support.errors import CertificateError, InputError, TpruneWarning


def padded(tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    batch = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    return batch.input_ids, batch.attention_mask


@torch.no_grad()
def test_the_graphs_compute_the_model(model: Any, tokenizer: Any) -> None:
    ids, mask = padded(tokenizer)
    targets = torch.randint(3, len(tokenizer), (len(SENTENCES), 9), generator=torch.Generator().manual_seed(0))
    expected = model(input_ids=ids, attention_mask=mask, decoder_input_ids=targets).logits
    cross = Encoder(model)(ids, mask)
    decoder = stacks_of(model).decoder
    assert len(cross) == 2 * len(list(cross_attentions(decoder)))
    past = past_of(decoder, len(ids), 0)
    for step in range(targets.shape[1]):
        logits, *past = DecoderStep(model)(targets[:, step : step + 1], torch.tensor([step]), mask, cross, past)
        torch.testing.assert_close(logits, expected[:, step], rtol=0, atol=2e-5)


@pytest.mark.slow
def test_export_equals_pytorch(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    model.train()
    report = export(model, tokenizer, tmp_path / "out", SENTENCES)
    assert model.training  # left as it was
    assert report.max_relative_error < 1e-5
    assert report.sentences == len(SENTENCES)
    assert report.greedy_equal + report.greedy_ties == report.beam_equal + report.beam_ties == len(SENTENCES)
    assert report.greedy_equal == report.beam_equal == len(SENTENCES)
    assert report.files == {p.name: p.stat().st_size for p in (tmp_path / "out").iterdir()}
    assert {"encoder.onnx", "decoder.onnx", "layout.json", "certificate.json", "tokenizer.json"} == set(report.files)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    for name in ("encoder", "decoder"):  # which file of this machine a node comes from is nobody's business
        assert b".py" not in (tmp_path / "out" / f"{name}.onnx").read_bytes()
    # every layer norm, a narrowed model's too, is one operator of the runtime
    nodes = [
        n.op_type for name in ("encoder", "decoder") for n in onnx.load(tmp_path / "out" / f"{name}.onnx").graph.node
    ]
    assert nodes.count("LayerNormalization") == sum(
        isinstance(m, nn.LayerNorm | NarrowLayerNorm) for m in model.modules()
    )
    assert "ReduceSum" not in nodes and "ReduceMean" not in nodes
    # one sentence alone, through the text interface, is what the model itself generates
    model.eval()
    batch = tokenizer([SENTENCES[5]], return_tensors="pt")
    expected = model.generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask, num_beams=1)
    text = Translator.load(tmp_path / "out").translate([SENTENCES[5]], beams=1)
    assert text == tokenizer.batch_decode(expected, skip_special_tokens=True)


@pytest.mark.slow
def test_a_wrong_graph_is_refused_and_the_old_export_stays(
    marian: MarianMTModel, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    export(marian, tokenizer, out, SENTENCES[:2])
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    true_step = onnx_graphs.DecoderStep

    def wrong_step(model: Any, *arguments: Any) -> DecoderStep:
        attention = model.model.decoder.layers[2].self_attn
        attention.scaling *= 1.5
        try:
            return true_step(model, *arguments)
        finally:
            attention.scaling /= 1.5

    monkeypatch.setattr(onnx_graphs, "DecoderStep", wrong_step)
    # the first step attends to one token only, so the scaling shows from the second step on
    with pytest.raises(CertificateError, match=r"sentence \d+, step ([2-9]|\d\d) .*logits differ by"):
        export(marian, tokenizer, out, SENTENCES[:2])
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    monkeypatch.undo()
    export(marian, tokenizer, out, SENTENCES[:1])  # and replaces it when all is well
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
@pytest.mark.parametrize("renormalised", [True, False])
def test_tokens_that_are_never_written(model: Any, tokenizer: Any, tmp_path: Path, renormalised: bool) -> None:
    whole = export(model, tokenizer, tmp_path / "whole", SENTENCES[:1]).files["decoder.onnx"]
    g, tokens = model.generation_config, len(tokenizer)
    never = sorted({*range(2, tokens, 3), int(g.decoder_start_token_id)} - {g.eos_token_id})
    g.update(suppress_tokens=never, renormalize_logits=renormalised, bad_words_ids=[[3, 4], [0], [4, 5]])
    g.update(no_repeat_ngram_size=2, repetition_penalty=1.0 if renormalised else 1.3)
    report = export(model, tokenizer, tmp_path / "out", SENTENCES)
    assert report.greedy_equal == report.beam_equal == len(SENTENCES)
    translator = Translator.load(tmp_path / "out")
    layout = translator.layout
    said = translator.generate(translator.encode(SENTENCES), beams=3)
    assert not set(never) & {token for row in said for token in row}
    if not renormalised:  # they take part in the probabilities, so their logits are needed
        assert layout.rows == () and layout.writable == layout.vocabulary == tokens
        return
    assert set(range(tokens)) - set(layout.rows) <= set(never) and len(layout.rows) < 0.7 * tokens
    assert layout.tokens(layout.numbers(layout.rows)).tolist() == list(layout.rows)
    assert [layout.numbers([3, 4]).tolist()] == list(
        map(list, layout.decoding.phrases)
    )  # [4, 5] holds a token that is gone
    assert report.files["decoder.onnx"] < whole


def junk(graph: Graph, path: Path, opset: int) -> None:
    path.write_bytes(b"no graph")


def test_a_failing_export_leaves_nothing(
    marian: MarianMTModel, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tprune.runtimes.onnxruntime.lower.lower", junk)
    with pytest.raises(InputError, match=r"encoder\.onnx: onnxruntime cannot load it"):
        export(marian, tokenizer, tmp_path / "new", SENTENCES)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_not_replaced(marian: MarianMTModel, tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(InputError, match=r"holds thesis\.tex"):
        export(marian, tokenizer, tmp_path, SENTENCES)
    with pytest.raises(InputError, match="holds thesis"):
        export(marian, tokenizer, tmp_path / "thesis.tex", SENTENCES)
    assert (tmp_path / "thesis.tex").read_text() == "dear"


def test_other_models_and_no_sentences(marian: MarianMTModel, tokenizer: Any, tmp_path: Path) -> None:
    bert = BertForPreTraining(
        BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    )
    with pytest.raises(InputError, match=r"cannot export this BertForPreTraining: .*no known task"):
        export(bert, tokenizer, tmp_path / "out", SENTENCES)
    with pytest.raises(InputError, match="expected a list of at least one"):
        export(marian, tokenizer, tmp_path / "out", [])
    for layer in marian.model.decoder.layers:
        layer.encoder_attn.removed = True
    with pytest.raises(InputError, match="every cross attention is removed"):
        export(marian, tokenizer, tmp_path / "out", SENTENCES)
    assert list(tmp_path.iterdir()) == []


class Elsewhere(OnnxRuntime):
    """A runtime that runs no model of two encoder layers."""

    def check(self, graphs: Any) -> None:
        raise RuntimeError("two encoder layers")


def test_what_cannot_be_exported_is_known_in_a_moment(
    marian: MarianMTModel, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_exportable(marian, tokenizer, SENTENCES)
    with pytest.raises(InputError, match="runtime onnxruntime: RuntimeError: two encoder layers"):
        check_exportable(marian, tokenizer, SENTENCES, Elsewhere())
    with pytest.raises(InputError, match="cannot export a object; expected a tokenizer"):
        check_exportable(marian, object(), SENTENCES)
    monkeypatch.setattr(onnx_runtime, "LARGEST", 1000)
    with pytest.raises(InputError, match="an ONNX file holds at most 1000"):
        check_exportable(marian, tokenizer, SENTENCES)
    monkeypatch.undo()
    reset(encoder_no_repeat_ngram_size=3)(marian)
    with pytest.raises(InputError, match="encoder_no_repeat_ngram_size is 3; the export can only do 0"):
        check_exportable(marian, tokenizer, SENTENCES)


def reset(**settings: Any) -> Callable[[MarianMTModel], None]:
    return lambda model: [setattr(model.generation_config, k, v) for k, v in settings.items()] and None


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        (reset(max_new_tokens=7), "max_length", 8),
        (reset(max_length=512), "max_length", 41),  # all the positions there are
        (reset(num_beams=None), "num_beams", 1),
        (reset(length_penalty=None), "length_penalty", 1.0),
        (reset(early_stopping="never"), "early_stopping", "never"),
        (reset(pad_token_id=None), "pad_token_id", 1),
        (reset(eos_token_id=[1, 2]), "eos_token_id", (1, 2)),
        (reset(bad_words_ids=[[0], [1], [3, 4]]), "bad_words_ids", ((0,), (3, 4))),  # the end token is never forbidden
        (reset(suppress_tokens=[5, 0]), "bad_words_ids", ((0,), (5,))),
        (reset(min_new_tokens=3), "min_length", 4),
        (reset(forced_eos_token_id=1), "forced_eos_token_id", (1,)),
        (reset(no_repeat_ngram_size=3), "no_repeat_ngram_size", 3),
        (reset(repetition_penalty=1.2), "repetition_penalty", 1.2),
    ],
)
def test_generation_settings(marian: MarianMTModel, change: Callable[[Any], None], key: str, value: Any) -> None:
    change(marian)
    assert dataclasses.asdict(generation_of(marian))[key] == value


SURPLUS: list[dict[str, Any]] = [
    {"do_sample": True},
    {"num_return_sequences": 2},
    {"encoder_no_repeat_ngram_size": 3},
    {"encoder_repetition_penalty": 1.2},
    {"begin_suppress_tokens": [5]},
    {"exponential_decay_length_penalty": [3, 1.5]},
    {"sequence_bias": [[[5], 1.0]]},
    {"stop_strings": ["x"]},
    {"watermarking_config": {"bias": 1.0}},
    {"prompt_lookup_num_tokens": 2},
    {"dola_layers": "high"},
]
IMPOSSIBLE: list[dict[str, Any]] = [
    {"no_repeat_ngram_size": -1},
    {"no_repeat_ngram_size": 2.5},
    {"repetition_penalty": 0.0},
    {"repetition_penalty": 2},
    {"repetition_penalty": "x"},
    {"bad_words_ids": [5]},
    {"bad_words_ids": [[10**9]]},
    {"suppress_tokens": "x"},
    {"max_length": 1},
    {"max_length": "x"},
    {"num_beams": 0},
    {"num_beams": 2.0},
    {"length_penalty": float("nan")},
    {"early_stopping": "x"},
    {"pad_token_id": -1},
    {"decoder_start_token_id": 10**9},
    {"eos_token_id": [1, "a"]},
    {"forced_bos_token_id": 10**9},
    {"forced_eos_token_id": [10**9]},
    {"renormalize_logits": 1},
    {"min_length": -2},
]


@pytest.mark.parametrize("setting", [*SURPLUS, *IMPOSSIBLE], ids=str)
def test_settings_without_counterpart_and_impossible_ones(marian: MarianMTModel, setting: dict[str, Any]) -> None:
    generation_of(marian)  # what it has of its own is accepted
    reset(**setting)(marian)
    with pytest.raises(
        InputError, match=rf"^MarianMTModel: generation_config\.{next(iter(setting))} is .*; "
    ) as caught:
        generation_of(marian)
    assert "\n" not in str(caught.value)


def test_a_limit_that_nobody_chose_is_named(marian: MarianMTModel) -> None:
    reset(max_length=None)(marian)
    with pytest.warns(TpruneWarning, match="no max_length in .* ends after 20 tokens, .*set max_length"):
        assert generation_of(marian).max_length == 21
    for setting in (
        {"max_length": 20},
        {"max_new_tokens": 19},
    ):  # the same, chosen: nothing is said (warnings are errors)
        reset(**({"max_length": None} | setting))(marian)
        assert generation_of(marian).max_length == 20


def test_rows_stay_where_a_penalty_multiplies_probabilities(marian: MarianMTModel) -> None:
    reset(suppress_tokens=[5, 6], renormalize_logits=True, no_repeat_ngram_size=2)(marian)
    assert not {5, 6} & set(written_rows(marian))
    reset(repetition_penalty=1.1)(marian)
    assert written_rows(marian) == ()


def test_end_token_must_be_set(marian: MarianMTModel) -> None:
    marian.generation_config.eos_token_id = None
    with pytest.raises(InputError, match="eos_token_id is not set"):
        generation_of(marian)


@pytest.mark.slow
def test_trained_model_in_half_precision(trained: tuple[Path, tuple[str, ...]], tmp_path: Path) -> None:
    folder, sentences = trained
    model, tokenizer = MarianMTModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    report = export(model, tokenizer, tmp_path / "out", sentences[:120])
    assert report.max_relative_error < 1e-5
    assert report.greedy_equal + report.greedy_ties == 120
    assert report.beam_equal + report.beam_ties == 120
    assert report.greedy_ties + report.beam_ties <= 2
    layout = read_translation(tmp_path / "out")
    assert layout.generation.num_beams == 4
    assert layout.generation.max_length == 128
    _, heads, _, size = layout.graph("decoder").past[0].dims
    assert int(heads) * int(size) == model.config.d_model
