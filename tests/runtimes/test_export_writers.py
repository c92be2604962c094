"""Exports of the families beside Marian and BART that write text: parity, decoding settings, integers."""

from pathlib import Path
from typing import Any

import pytest
from onnx_models import SENTENCES, teach_

from small_tokenizers import m2m_100_tokenizer
from text_writers import FORCED, WRITERS, cut, writer
from tprune.core.precision import INT8, Precision
from tprune.data.parallel import Parallel
from tprune.families.graphs.positions import ByDistance
from tprune.runtimes.artefact import read_translation
from tprune.runtimes.certificate import ExportCertificate
from tprune.runtimes.ctranslate2.refusals import faults
from tprune.runtimes.export import check_exportable, export
from tprune.runtimes.generation_settings import generation_of
from tprune.runtimes.translator import Translator
from tprune.support.errors import CertificateError, InputError, TpruneWarning
from tprune.tasks.summarisation import SUMMARISATION
from tprune.tasks.translation.encoding import encode

MOST = 5e-5  # of the largest logit; the scores of a T5 are not scaled, which enlarges the rounding


def taught(name: str, tokenizer: Any, pruned: bool = False) -> Any:
    """Taught a little: a random model repeats one token for ever, which tests no search."""
    model = writer(name, len(tokenizer))
    model = cut(model) if pruned else model
    teach_(model, tokenizer)
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pruned"),
    [(name, True) for name in WRITERS] + [("mt5", False), ("m2m_100", False)],
    ids=lambda one: one if isinstance(one, str) else "cut" if one else "dense",
)
def test_an_export_equals_pytorch(name: str, pruned: bool, tokenizer: Any, tmp_path: Path) -> None:
    model = taught(name, tokenizer, pruned)
    report = export(model, tokenizer, tmp_path / "out", SENTENCES)
    assert report.max_relative_error < MOST and report.steps == 48
    assert report.greedy_equal + report.greedy_ties == report.beam_equal + report.beam_ties == len(SENTENCES)
    translator = Translator.load(tmp_path / "out")
    ids = translator.encode(SENTENCES[5:6])
    written = translator.generate(ids, beams=1)[0]
    assert written[0] == FORCED.get(name, written[0])
    batch = tokenizer([SENTENCES[5]], return_tensors="pt")
    given = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    assert model.generate(**given, num_beams=1)[0, 1:].tolist() == written  # with a cache, as users call it


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t5", "m2m_100"])
def test_integers(name: str, tokenizer: Any, tmp_path: Path) -> None:
    report = export(taught(name, tokenizer), tokenizer, tmp_path / "out", SENTENCES[:4], precision=INT8)
    assert report.rms is not None and 0 < report.rms < 0.1
    certificate = ExportCertificate.read(tmp_path / "out")
    assert certificate is not None
    exact = {name for one in certificate.products if one.precision == "fp32" for name in one.weights}
    whole = {name for one in certificate.products if one.precision == "int8" for name in one.weights}
    if name == "t5":  # what is added to scores is no matrix that multiplies
        first = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        assert {f"encoder.{first}", f"decoder.{first}"} <= exact
        assert {"shared.weight", "encoder.block.0.layer.1.DenseReluDense.wo.weight"} <= whole
    else:
        assert {"model.shared.weight", "model.decoder.layers.1.encoder_attn.v_proj.weight"} <= whole


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8-greedy", "int8-weights", "int4-weights"])
def test_other_precisions_of_an_m2m_100(precision: str, tokenizer: Any, tmp_path: Path) -> None:
    model, out = taught("m2m_100", tokenizer), tmp_path / "out"
    report = export(model, tokenizer, out, SENTENCES[:4], precision=Precision(precision))
    assert report.rms is not None and 0 < report.rms < (0.5 if precision == "int4-weights" else 0.1)
    certificate = ExportCertificate.read(out)
    assert certificate is not None
    assert {one.precision for one in certificate.products} > {"fp32"}


@pytest.mark.slow
def test_padding_that_an_m2m_100_writes_has_no_place_and_counts(tokenizer: Any, tmp_path: Path) -> None:
    model = taught("m2m_100", tokenizer)
    model.generation_config.update(bad_words_ids=None, forced_bos_token_id=0, min_length=9)
    report = export(model, tokenizer, tmp_path / "out", SENTENCES)
    assert report.max_relative_error < MOST
    assert report.greedy_equal + report.greedy_ties == len(SENTENCES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t5", "pegasus"])
def test_summaries_use_the_same_graphs(name: str, tokenizer: Any, tmp_path: Path) -> None:
    report = export(taught(name, tokenizer), tokenizer, tmp_path / "out", SENTENCES[:2], task=SUMMARISATION)
    assert report.max_relative_error < MOST
    layout = read_translation(tmp_path / "out")
    assert layout.task == "summarisation" and layout.graph("decoder").states


def test_settings_and_sizes(tokenizer: Any) -> None:
    for name, first in FORCED.items():
        found = generation_of(writer(name, len(tokenizer)))
        assert (found.forced_bos_token_id, found.decoder_start_token_id) == (first, 1)
    t5 = writer("t5", len(tokenizer))
    check_exportable(t5, tokenizer, SENTENCES)
    t5.generation_config.update(max_length=700)  # distances have no end
    assert generation_of(t5).max_length == 700
    t5.generation_config.max_length = "x"
    with pytest.raises(InputError, match="max_length is 'x'; expected a whole number"):
        generation_of(t5)
    mbart = writer("mbart", len(tokenizer))
    mbart.generation_config.update(max_length=700)
    assert generation_of(mbart).max_length == 61
    mbart.generation_config.update(forced_bos_token_id=len(tokenizer))
    with pytest.raises(
        InputError, match=rf"forced_bos_token_id is {len(tokenizer)}; expected none, or a token of 0 to"
    ):
        generation_of(mbart)


@pytest.mark.slow
def test_a_wrong_first_attention_is_found(tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = taught("t5", tokenizer)
    true_bias = ByDistance.of_step
    monkeypatch.setattr(ByDistance, "of_step", lambda bias, position, length: true_bias(bias, position + 1, length))
    with pytest.raises(CertificateError, match=r"logits differ by"):
        export(model, tokenizer, tmp_path / "out", SENTENCES[:2])


def test_the_language_that_is_written(tmp_path: Path) -> None:
    tokenizer = m2m_100_tokenizer(tmp_path, SENTENCES)
    pad, eos = tokenizer.pad_token_id, tokenizer.eos_token_id
    settings = {"pad_token_id": pad, "eos_token_id": eos, "decoder_start_token_id": eos}
    model = writer("m2m_100", tokenizer.vocab_size + 108, **settings)
    model.generation_config.update(forced_bos_token_id=tokenizer.get_lang_id("de"), bad_words_ids=[[pad]], **settings)
    check_exportable(model, tokenizer, SENTENCES)
    model.generation_config.update(forced_bos_token_id=None)
    with pytest.warns(TpruneWarning, match=r"as de \(token \d+\), .* may write another language; set forced_bos"):
        check_exportable(model, tokenizer, SENTENCES)
    pairs = Parallel(SENTENCES, SENTENCES)
    row = encode(pairs, tokenizer, 60)[0]
    assert (row["input_ids"][0], row["labels"][0]) == (tokenizer.get_lang_id("en"), tokenizer.get_lang_id("de"))
    tokenizer.tgt_lang = None
    with pytest.raises(InputError, match=r"the M2M100Tokenizer does not know which language is written; set src_lang"):
        encode(pairs, tokenizer, 60)


def test_ctranslate2_is_written_for_marian_and_bart(tokenizer: Any) -> None:
    for name in ("t5", "mbart"):
        model = writer(name, len(tokenizer))
        assert list(faults(model, generation_of(model))) == [
            "layers of this class have no counterpart there; expected a MarianMTModel or a BartForConditionalGeneration"
        ]
