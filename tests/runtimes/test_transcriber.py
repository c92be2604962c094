"""A tiny Whisper by its graphs: searches as transformers' `generate`, settings, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from eager_graphs import Eager
from transformers import GenerationMixin

from small_tasks import listener, speech_processor, tones
from tprune.core.known_tasks import task_of
from tprune.core.precision import INT8
from tprune.families.graphs.encoder_decoder import stacks_of
from tprune.families.graphs.graph import skeleton_of
from tprune.runtimes.artefact import read_layout, read_translation
from tprune.runtimes.bundle.make import bundle
from tprune.runtimes.certificate import ExportCertificate
from tprune.runtimes.ctranslate2.refusals import faults
from tprune.runtimes.export import export
from tprune.runtimes.layout import Layout
from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.opened import open_exported
from tprune.runtimes.steps import EncoderDecoderEngine
from tprune.runtimes.transcriber import Transcriber
from tprune.runtimes.transcription_settings import transcription_of
from tprune.runtimes.translation_layout import TranslationLayout, translation_layout
from tprune.support.errors import InputError
from tprune.support.manifest import Manifest
from tprune.tasks.scoring import scores
from tprune.tasks.speech_recognition import SPEECH_RECOGNITION as TASK
from tprune_runtime.generation import Generation, fault

LAST = 19  # new tokens and those before them


def told(**more: Any) -> Any:
    """A model whose transcripts begin with three tokens, and not with every token after them."""
    model = listener()
    for name, value in {"forced_decoder_ids": [[1, 5], [2, 9]], **more}.items():
        setattr(model.generation_config, name, value)
    return model


def opened(model: Any) -> Transcriber:
    """The graphs of a model, without an export."""
    skeleton, task = skeleton_of(model), task_of(model)
    graphs = skeleton.graphs(model, task, task.random(model), "masked")
    stacks = stacks_of(model)
    layout = TranslationLayout(
        task=task.name,
        phases=skeleton.phases,
        graphs=tuple(graph.signature for graph in graphs),
        limits=skeleton.limits(model),
        parameters=1,
        macs=1,
        files=Manifest({}),
        generation=transcription_of(model),
        vocabulary=int(stacks.output.shape[0]),
        source_positions=stacks.encoder.tokens,
    )
    return Transcriber(layout, EncoderDecoderEngine(layout, Eager(graphs)))


def written(model: Any, features: torch.Tensor, beams: int) -> list[list[int]]:
    """What `generate` writes after what transcripts begin with, up to the end."""
    begun = torch.tensor([[2, 5, 9]] * len(features))
    mask = torch.ones(len(features), features.shape[-1], dtype=torch.long)
    how: dict[str, Any] = {"decoder_input_ids": begun, "max_length": 20, "max_new_tokens": None}
    with torch.no_grad():
        rows = GenerationMixin.generate(
            model, features, attention_mask=mask, num_beams=beams, do_sample=False, **how
        ).tolist()
    return [row[3 : row.index(1, 3) + 1 if 1 in row[3:] else None] for row in rows]


@pytest.mark.parametrize("more", [{}, {"length_penalty": 2.0, "early_stopping": "never"}], ids=["plain", "long"])
@pytest.mark.parametrize("beams", [1, 3])
def test_searches_after_a_beginning(beams: int, more: dict[str, Any]) -> None:
    plain = told(**more)
    features = torch.randn(5, 8, 100, generator=torch.Generator().manual_seed(2))
    first = {row[0] for row in written(plain, features, beams)}
    model = told(begin_suppress_tokens=[*sorted(first), 1], suppress_tokens=[3, 4], **more)
    found = opened(model).transcribed(features.numpy(), beams)
    assert found == written(model, features, beams)
    assert not {row[0] for row in found} & first  # what is suppressed at the beginning is written later at most
    assert opened(plain).transcribed(features.numpy(), beams) == written(plain, features, beams)


def test_settings() -> None:
    found = transcription_of(told(begin_suppress_tokens=[4], suppress_tokens=[3]))
    assert found.begun == (2, 5, 9) and found.begin_suppress_tokens == (4,) and found.bad_words_ids == ((3,),)
    assert found.max_length == 20 and found.cut([7] * 17) and not found.cut([7] * 16)
    assert transcription_of(listener()).begun == (2,)
    layout = opened(told()).layout
    again = translation_layout(layout.to_dict())
    assert again == layout and again.hears is not None and again.hears.dims == ("batch", 8, 100)
    assert "prefix" not in opened(listener()).layout.to_dict()["generation"]
    short = Generation(0, (1,), 0, max_length=3, prefix=(4, 5))
    assert fault(short, vocabulary=20, positions=8) == "max_length is 3; expected a whole number of 4 to 9"


class Stamped:
    predict_timestamps = True


class Other:
    prefix_tokens = (7, 8)


@pytest.mark.parametrize(
    ("more", "tokenizer", "says"),
    [
        (
            {"return_timestamps": True},
            None,
            "generation_config.return_timestamps is True; the export can only do False",
        ),
        ({"no_speech_threshold": 0.6}, None, "no_speech_threshold is 0.6; the export can only do None"),
        ({"do_sample": True}, None, "do_sample is True"),
        ({"is_multilingual": True, "lang_to_id": {"<|en|>": 8}}, None, "nothing says in which language it is to write"),
        ({"forced_decoder_ids": [[1, None], [2, 9]]}, None, r"forced_decoder_ids is \[\[1, None\], \[2, 9\]\]"),
        ({"forced_decoder_ids": [[2, 9]]}, None, "from place 1 on, without gaps"),
        ({}, Stamped(), "transcripts with time stamps are not made here"),
        ({}, Other(), "begins transcripts with token 7, and decoder_start_token_id is 2"),
        (
            {"begin_suppress_tokens": [99]},
            None,
            r"begin_suppress_tokens is \(99,\); expected a list, each a token of 0 to",
        ),
    ],
)
def test_what_is_not_exported_is_said_in_a_line(more: dict[str, Any], tokenizer: Any, says: str) -> None:
    model = listener()
    for name, value in more.items():
        setattr(model.generation_config, name, value)
    with pytest.raises(InputError, match=says) as error:
        transcription_of(model, tokenizer)
    assert "\n" not in str(error.value)


def test_a_language_that_is_said() -> None:
    model = told(is_multilingual=True, lang_to_id={"<|en|>": 5})
    assert transcription_of(model).begun == (2, 5, 9)


def test_inputs_that_a_model_does_not_hear(tmp_path: Path) -> None:
    found = opened(listener())
    with pytest.raises(InputError, match=r"features of shape \(1, 8, 90\); expected \(recordings, 8, 100\)"):
        found.transcribed(np.zeros((1, 8, 90)))
    with pytest.raises(InputError, match="beams 40; expected at least 1"):
        found.transcribed(np.zeros((1, 8, 100)), 40)
    assert found.transcribed(np.zeros((0, 8, 100)), 1) == []
    with pytest.raises(InputError, match="sentences for a WhisperForConditionalGeneration, which hears recordings"):
        export(listener(), None, tmp_path / "out", ["A cat."])
    with pytest.raises(InputError, match=r"batch 1 gives a Whisper.* pixels; expected input_features"):
        export(listener(), None, tmp_path / "out", batches=[{"pixels": torch.zeros(1)}])
    assert "layers of this class have no counterpart there" in next(faults(listener(), transcription_of(listener())))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With its tokeniser, checked in a fresh process too."""
    out: Path = tmp_path_factory.mktemp("speech") / "out"
    model, processor = told(begin_suppress_tokens=[1]), speech_processor()
    examples = TASK.encode(tones(), processor, model)
    batch = TASK.collate([examples[i] for i in range(3)], 0)
    report = export(model, None, out, batches=[batch])
    assert report.max_relative_error < 2e-5 and report.sentences == 3 and report.steps == 19
    assert report.greedy_equal + report.greedy_ties == report.beam_equal + report.beam_ties == 3
    return out


@pytest.mark.slow
def test_an_export_equals_pytorch(exported: Path, tmp_path: Path) -> None:
    model, found = told(begin_suppress_tokens=[1]), open_exported(exported)
    assert isinstance(found, Transcriber)
    examples = TASK.encode(tones(), speech_processor(), model)
    features = torch.stack([examples[i]["input_features"] for i in range(6)])
    assert found.transcribed(features.numpy()) == written(model, features, 1)
    certificate = ExportCertificate.read(exported)
    assert (
        certificate.build == "encoder-decoder" and certificate.fresh and {"greedy", "beam"} <= set(certificate.features)
    )
    (score,) = scores(TASK, TASK.predict(found, examples), examples)
    assert score.metric.name == "WER"
    layout: Layout = read_layout(exported)
    assert layout.phases == ("encoder", "decoder_step", "recording") and layout.task == "speech-recognition"
    with pytest.raises(InputError, match=r"expected one for translation .*transcriber.Transcriber opens this one"):
        read_translation(exported)
    with pytest.raises(InputError, match="expected one that runs in one pass"):
        OnePass.load(exported)
    with pytest.raises(InputError, match="bundles hold models that hear no recordings"):
        bundle(exported, tmp_path / "bundle")


@pytest.mark.slow
def test_integers(exported: Path, tmp_path: Path) -> None:
    """Kernels of the stem are stored in eight bits and computed in fp32; matrices are integers."""
    report = export(told(begin_suppress_tokens=[1]), None, tmp_path / "out", precision=INT8, fp32=exported)
    assert 0 < report.rms < 0.1
    products = ExportCertificate.read(tmp_path / "out").products
    by_weight = {name: one for one in products for name in one.weights}
    assert by_weight["model.encoder.conv1.weight"].precision != "int8"
    assert by_weight["model.encoder.layers.0.fc1.weight"].precision == "int8"
    assert by_weight["model.decoder.layers.0.encoder_attn.k_proj.weight"].precision == "int8"
