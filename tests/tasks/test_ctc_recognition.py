"""Transcripts in one pass: alignments of frames, recordings of unequal lengths, a tiny random wav2vec 2.0."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small_tasks import listener, speller, speller_processor, tones
from tprune.core.known_tasks import task_of, task_of_config
from tprune.core.labels import IGNORED
from tprune.core.task import Subsamples, Transcribes
from tprune.data.sounds import Recordings
from tprune.support.errors import InputError
from tprune.tasks.alignment import aligned, spoken
from tprune.tasks.ctc_recognition import CTC_RECOGNITION, CtcRecognition
from tprune.tasks.frames import Convolutions
from tprune.tasks.scoring import scores

TASK = CtcRecognition(frames=40)


def test_a_model_says_its_task() -> None:
    assert task_of(speller()) is CTC_RECOGNITION and not TASK.matches(listener())
    assert task_of_config({"architectures": ["Wav2Vec2ForCTC"]}) == "speech-recognition-ctc"
    assert isinstance(TASK, Subsamples) and isinstance(TASK, Transcribes)


@pytest.mark.parametrize("tokens", [[], [1], [1, 1], [1, 2, 1], [2, 2, 1]])
def test_an_alignment_is_the_likeliest_of_all_paths(tokens: list[int]) -> None:
    chance = np.random.default_rng(len(tokens))
    says = np.log(chance.dirichlet(np.ones(3), 6))
    paths = [path for path in product(range(3), repeat=6) if spoken(path, 0) == tokens]
    best = max(paths, key=lambda path: says[range(6), path].sum())
    assert aligned(says, tokens, 0) == list(best)


def test_too_few_frames_have_no_alignment() -> None:
    says = np.log(np.full((2, 3), 1 / 3))
    assert aligned(says, [1, 1], 0) is None and aligned(says, [1, 2], 0) == [1, 2]


def test_frames_are_those_of_the_model() -> None:
    model, sizes = speller(), Convolutions.of(speller())
    with torch.no_grad():
        for samples in (84, 147, 148, 1000):
            frames = model(torch.zeros(1, samples)).logits.shape[1]
            assert sizes.frames(samples) == frames and sizes.samples(frames) <= samples
    assert sizes.stride == 64 and sizes.frames(sizes.samples(7)) == 7


def test_examples(tmp_path: Path) -> None:
    model, processor = speller(), speller_processor(tmp_path)
    examples = TASK.encode(tones(), processor, model)
    sizes = Convolutions.of(model)
    assert examples.lengths.tolist() == [sizes.frames(800 * n) for n in range(1, 7)]
    for row, text in zip(examples.labels, tones().texts, strict=True):
        letters = "".join(processor.tokenizer.convert_ids_to_tokens(spoken(row, 0)))
        if "too" not in str(examples.notes):
            assert letters == text.upper().replace(" ", "|")
    batch = TASK.collate([examples[0], examples[3]], 0)
    frames = TASK.heard(model, batch)
    assert torch.equal(frames, batch["labels"] != IGNORED)
    with torch.no_grad():
        together = TASK.run(model, batch).logits[0, : len(examples.labels[0])]
        alone = TASK.run(model, TASK.collate([examples[0]], 0)).logits[0]
    assert torch.allclose(together, alone, atol=1e-4)
    (score,) = scores(TASK, TASK.predict(model, examples), examples)
    assert score.metric.name == "WER" and score.count == 6


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    model, processor = speller(), speller_processor(tmp_path)
    long = Recordings((np.ones(31 * 16_000, np.float32), np.ones(500, np.float32)), ("a cat", "a dog " * 9), "talks")
    notes = TASK.encode(long, processor, model).notes
    assert notes == (
        "talks: 1 of 2 recordings are cut to 30 seconds",
        "talks: 1 of 2 transcripts have more tokens than their recordings have frames; what the model says is expected "
        "of these",
    )
    short = Recordings((np.ones(40, np.float32), np.ones(800, np.float32)), ("a", "b"), "clicks")
    with pytest.raises(
        InputError, match=r"clicks: 1 of 2 recordings are too short, .*, of 40 samples; expected at least 68"
    ):
        TASK.encode(short, processor, model)


def test_a_model_whose_norm_is_over_time_is_given_no_mask() -> None:
    model: Any = speller()
    model.config.feat_extract_norm = "group"
    batch = TASK.random(model)
    with torch.no_grad():
        expected = model(batch["input_values"]).logits
        assert torch.equal(TASK.run(model, batch).logits, expected)
