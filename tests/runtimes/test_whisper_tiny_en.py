"""Whisper tiny.en, with its own weights: one utterance, word for word, by PyTorch and by onnxruntime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.families.whisper_tiny_en import PIN, convert
from tprune.core.precision import INT8
from tprune.realise.checkpoint import load
from tprune.runtimes.export import export
from tprune.runtimes.opened import open_exported
from tprune.support.errors import CertificateError
from tprune.tasks.metrics.word_errors import words_of
from tprune.tasks.speech_recognition import SPEECH_RECOGNITION as TASK

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    package = os.environ.get("TPRUNE_PINNED")
    if not package:
        pytest.skip(f"TPRUNE_PINNED names no folder with {PIN}")
    return convert(Path(package), tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def heard(tiny: Path) -> Any:
    """The model and the utterance, encoded."""
    pytest.importorskip("soundfile")
    if "TPRUNE_DATA" not in os.environ:
        pytest.skip("TPRUNE_DATA names no folder")
    model = load(tiny).eval()
    data = TASK.read(Path(os.environ["TPRUNE_DATA"], "speech"))
    return model, TASK.encode(data, TASK.processor(tiny), model)


def test_pytorch_says_it_word_for_word(heard: Any) -> None:
    model, examples = heard
    (said,) = TASK.predict(model, examples).rows
    assert words_of(said) == words_of(examples.recordings.texts[0])


def test_an_export_says_it_word_for_word(heard: Any, tmp_path: Path) -> None:
    model, examples = heard
    batch = TASK.collate([examples[0]], 0)
    report = export(model, examples.processor.exported_tokenizer, tmp_path / "out", batches=[batch])
    assert report.steps == 48 and report.greedy_equal == report.sentences == 1 and report.max_relative_error < 1e-4
    (said,) = TASK.predict(open_exported(tmp_path / "out"), examples).rows
    assert words_of(said) == words_of(examples.recordings.texts[0])


def test_integers_are_a_little_too_far(heard: Any, tmp_path: Path) -> None:
    """The likeliest tokens are all the same; logits differ by 0.11 of their spread, and 0.1 is allowed."""
    model, examples = heard
    batch = TASK.collate([examples[0]], 0)
    with pytest.raises(CertificateError, match=r"rms 0\.1\d+, expected at most 0\.1$"):
        export(model, None, tmp_path / "out", batches=[batch], precision=INT8)
