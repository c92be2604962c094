import copy
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_models import SENTENCES, bart, teach_

import tprune
from small_models import small_model
from tprune.core.precision import BF16, FP32, INT8, Precision
from tprune.core.selection import keep_best
from tprune.realise.checkpoint import load, load_tokenizer
from tprune.runtimes.artefact import read_translation
from tprune.runtimes.certificate import ExportCertificate
from tprune.runtimes.ctranslate2.engine import CTRANSLATE2
from tprune.runtimes.ctranslate2.refusals import faults
from tprune.runtimes.export import export
from tprune.runtimes.translator import Translator
from tprune.support.errors import CertificateError, InputError
from tprune.testing import check_runtime
from tprune_runtime.generation import Generation

GREEDY = Generation(0, (1,), 0, max_length=20)


def cut(model: Any, family: str, left: Mapping[str, int]) -> Any:
    """A model of whose couplings those named keep so many lines."""
    every = tprune.couplings(model, ["ffn", "heads", "qk", "vo", "sublayer", "width"])
    plan = tprune.make_plan(model, family, [c for c in every if c.name in left])
    assert len(plan.entries) == len(left)
    kept = {e.coupling.name: keep_best(torch.rand(e.groups), left[e.coupling.name]) for e in plan.entries}
    return tprune.shrink(model, plan.with_kept(kept, {}, {})).eval()


def heads(model: Any, encoder: int, decoder: int) -> dict[str, int]:
    names = [c.name for c in tprune.couplings(model, ["heads"])]
    return {name: encoder if name.startswith("model.encoder") else decoder for name in names}


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (
            {"model.encoder.layers.1.self_attn.heads": 3},
            "model.encoder.layers.1.self_attn has 3 heads, model.encoder.layers.0.self_attn 4; expected as many in all "
            "2 attentions of the encoder; the nearest that it runs: 3 in each (within this plan) or 4 in each",
        ),
        (
            {"model.decoder.layers.0.encoder_attn.sublayer": 0},
            "model.decoder.layers.0.encoder_attn is removed, model.decoder.layers.0.self_attn 2; expected as many in "
            "all 6 attentions of the decoder; the nearest that it runs: 2 in each",
        ),
        (
            {"model.decoder.layers.1.self_attn.qk": 3},
            "model.decoder.layers.1.self_attn has 3 query-key and 8 value dimensions of a head; expected as many of "
            "both; the nearest that it runs: 3 (within this plan) or 8 of both",
        ),
        (
            {"width": 12},
            "model.encoder.layers.0.self_attn_layer_norm is over 12 of 16 dimensions of the residual; expected all of "
            "them; the nearest that it runs: width 16",
        ),
    ],
)
def test_what_it_cannot_run_is_refused_with_the_nearest_that_it_can(left: dict[str, int], said: str) -> None:
    model = small_model("bart")
    assert not list(faults(model, GREEDY))
    assert list(faults(cut(model, "bart", left), GREEDY)) == [said]


def test_heads_may_differ_between_the_stacks_and_feed_forward_blocks_in_everything() -> None:
    model = small_model("marian")
    left = {**heads(model, 3, 1), "model.encoder.layers.0.ffn": 0, "model.decoder.layers.2.ffn": 5}
    assert not list(faults(cut(model, "marian", left), GREEDY))


def test_settings_without_counterpart_are_refused() -> None:
    model = small_model("marian")
    said = list(faults(model, replace(GREEDY, repetition_penalty=1.2, forced_bos_token_id=3)))
    assert [text.split()[0] for text in said] == ["repetition_penalty", "forced_bos_token_id"]


def test_builds_and_precisions_that_it_has_not_are_said() -> None:
    assert (
        CTRANSLATE2.supports(FP32, "encoder-decoder") is None and CTRANSLATE2.supports(INT8, "encoder-decoder") is None
    )
    for precision, build in (
        (FP32, "single-pass"),
        (BF16, "encoder-decoder"),
        (Precision("int8", ("w",)), "encoder-decoder"),
    ):
        assert "expected" in (CTRANSLATE2.supports(precision, build) or "")


def test_a_missing_package_says_how_to_install_it(
    marian: Any, tokenizer: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(InputError, match=r"ctranslate2 is not installed here.*; pip install ctranslate2"):
        export(marian, tokenizer, tmp_path / "out", SENTENCES[:1], CTRANSLATE2)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def here() -> None:
    pytest.importorskip("ctranslate2")


@pytest.fixture
def real(here: None, trained: tuple[Path, tuple[str, ...]]) -> tuple[Any, Any, tuple[str, ...]]:
    """On random weights wrong heads give errors of a hundredth, which int8 has too."""
    folder, sentences = trained
    return load(folder, dtype=torch.float32).eval(), load_tokenizer(folder), sentences[:12]


@pytest.mark.runtimes
def test_a_trained_model_computes_what_pytorch_computes(real: Any, tmp_path: Path) -> None:
    model, tokenizer, sentences = real
    found = export(model, tokenizer, tmp_path / "out", sentences, CTRANSLATE2)
    assert found.max_relative_error < 1e-5 and found.steps == 48
    assert found.greedy_equal + found.greedy_ties == len(sentences) and found.beam_equal > 0.8 * len(sentences)
    translator = Translator.load(tmp_path / "out")
    assert translator.layout.phases == ("sentence",) and not translator.layout.graphs
    with pytest.raises(InputError, match="takes no single steps"):
        translator.start([[5, 1]])
    with pytest.raises(InputError, match="exported already"):
        load(tmp_path / "out")


@pytest.mark.runtimes
def test_it_passes_the_check_of_runtimes(here: None, marian: Any, tokenizer: Any) -> None:
    check_runtime(CTRANSLATE2, marian, tokenizer, SENTENCES)


@pytest.mark.runtimes
def test_pruned_models_compute_what_pytorch_computes(real: Any, tmp_path: Path) -> None:
    model, tokenizer, sentences = real
    left = {**heads(model, 3, 2), "model.encoder.layers.0.ffn": 0, "model.decoder.layers.1.ffn": 77}
    narrow = {c.name: 20 for c in tprune.couplings(model, ["qk", "vo"])}  # of 32 dimensions of a head
    for number, each in enumerate((left, heads(model, 1, 4) | narrow)):
        found = export(cut(model, "marian", each), tokenizer, tmp_path / str(number), sentences[:4], CTRANSLATE2)
        assert found.max_relative_error < 1e-5


@pytest.mark.runtimes
def test_another_number_of_heads_would_be_seen(real: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tprune.runtimes.ctranslate2 import lower

    model, tokenizer, sentences = real
    known = lower.attentions

    def doubled(*given: Any) -> list[Any]:
        return [replace(one, heads=2 * one.heads, qk=one.qk // 2) for one in known(*given)]

    monkeypatch.setattr(lower, "attentions", doubled)
    with pytest.raises(CertificateError, match="logits differ"):
        export(model, tokenizer, tmp_path / "out", sentences[:2], CTRANSLATE2)


@pytest.mark.runtimes
def test_int8_is_within_its_limits_and_leaves_the_model_as_it_was(real: Any, tmp_path: Path) -> None:
    model, tokenizer, sentences = real
    before = copy.deepcopy(model.state_dict())
    export(model, tokenizer, tmp_path / "int8", sentences, CTRANSLATE2, precision=INT8)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    found = ExportCertificate.read(tmp_path / "int8")
    assert 1e-3 < found.found["rms"] < 0.05 and found.fresh  # less would be no int8
    assert sum(entries(one.shape) for one in found.products) > 1e6
    assert (tmp_path / "int8" / "model.bin").stat().st_size < 1.3 * sum(one.bytes for one in found.products)


def entries(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


@pytest.mark.runtimes
def test_bart_with_a_forced_end_and_a_smaller_output_vocabulary(here: None, tokenizer: Any, tmp_path: Path) -> None:
    model = bart(len(tokenizer))
    teach_(model, tokenizer)
    model.generation_config.update(suppress_tokens=[4, 5, 7], renormalize_logits=True)
    found = export(model, tokenizer, tmp_path / "out", SENTENCES, CTRANSLATE2)
    assert found.max_relative_error < 1e-5 and found.greedy_equal + found.greedy_ties == len(SENTENCES)
    assert not {4, 5, 7} & set(read_translation(tmp_path / "out").rows)
