"""Recordings become features and transcripts: files that are and are no audio, word errors, a tiny random Whisper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small_sounds import wav
from small_tasks import listener, speech_processor, tones
from table_models import table_model
from tprune.core.known_tasks import task_of, task_of_config
from tprune.data.sounds import Recordings, resampled, samples_of
from tprune.support.errors import InputError, OptionError
from tprune.tasks.metrics.word_errors import word_errors
from tprune.tasks.scoring import compare, scores
from tprune.tasks.speech_processor import SpeechProcessor
from tprune.tasks.speech_recognition import SpeechRecognition
from tprune.tasks.translation.task import TRANSLATION

TASK = SpeechRecognition()


def test_a_model_says_its_task(marian_small: Any) -> None:
    assert task_of(listener()) == TASK and task_of(marian_small) is TRANSLATION
    assert not TASK.matches(table_model("bert"))
    assert task_of_config({"architectures": ["WhisperForConditionalGeneration"]}) == "speech-recognition"


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_files_of_all_widths(width: int) -> None:
    expected = np.sin(np.arange(400) / 9) * 0.5
    found = samples_of(wav(expected, width=width), 16_000, "a.wav")
    assert found.shape == (400,) and np.abs(found - expected).max() < (0.02 if width == 1 else 1e-4)
    stereo = np.stack([expected, np.zeros(400)], 1).ravel()
    both = samples_of(wav(stereo, width=width, channels=2), 16_000, "a.wav")
    assert np.abs(both - expected / 2).max() < (0.02 if width == 1 else 1e-4)


def test_other_rates_are_resampled_without_aliases() -> None:
    seconds = np.arange(48_000) / 48_000
    low, high = (np.sin(2 * np.pi * hertz * seconds).astype(np.float32) for hertz in (440, 12_000))
    found = resampled(low + high, 48_000, 16_000)
    assert len(found) == 16_000
    assert np.abs(found - np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).max() < 1e-3


def test_word_errors() -> None:
    """One word replaced, one left out, one put in; of 6 words. Case and punctuation are none."""
    found = word_errors(["The cat sat up", "yes, yes!"], ["the dog sat", "Yes yes now"])
    assert found.rows.tolist() == [[2, 3], [1, 3]] and found.value(found.rows.sum(0)) == 50
    with pytest.raises(InputError, match="no reference has a word"):
        word_errors(["a"], ["..."])


def test_a_transcript_is_predicted_after_its_beginning() -> None:
    """Decoder inputs are the labels moved by one, begun by the start token; nothing is expected of padding."""
    model, data = listener(), tones()
    examples = TASK.encode(data, speech_processor(), model)
    batch = TASK.collate([examples[0], examples[1]], 0)
    assert batch["input_features"].shape == (2, 8, 100) and batch["labels"].shape[1] == max(map(len, examples.targets))
    seen: list[Any] = []
    hook = model.model.decoder.register_forward_pre_hook(
        lambda _, args, given: seen.append(given["input_ids"]), with_kwargs=True
    )
    TASK.run(model, batch)
    hook.remove()
    length = len(examples.targets[0])
    assert seen[0][0, :length].tolist() == [model.config.decoder_start_token_id, *examples.targets[0][:-1]]
    assert bool((seen[0] >= 0).all())
    assert examples.lengths.tolist() == [50 + len(target) for target in examples.targets]


def test_predictions_are_scored() -> None:
    model = listener()
    examples = TASK.encode(tones(), speech_processor(), model)
    found = TASK.predict(model, examples)
    (score,) = scores(TASK, found, examples)
    assert score.metric.name == "WER" and not score.metric.larger_is_better and score.count == len(examples)
    assert compare(TASK, found, found, examples, samples=5).delta == 0
    with pytest.raises(InputError, match="object transcribes nothing"):
        TASK.predict(object(), examples)


@torch.no_grad()
def test_steps_are_those_of_teacher_forcing() -> None:
    model = listener()
    batch = TASK.random(model)
    steps = [logits.clone() for (logits,) in TASK.decode([model], batch, 4)]
    tokens = torch.stack([step.argmax(-1) for step in steps], 1)
    forced = TASK.run(model, {**batch, "labels": tokens}).logits
    assert torch.allclose(torch.stack(steps, 1), forced, atol=1e-4)


def test_what_is_too_long_is_cut_and_counted() -> None:
    long = Recordings((np.zeros(20_000, np.float32), np.zeros(100, np.float32)), ("a cat " * 30, "a dog"), "talks")
    examples = TASK.encode(long, speech_processor(), listener())
    assert examples.notes == (
        "talks: 1 of 2 recordings are cut to 1 seconds",
        "talks: 1 of 2 transcripts are cut to 20 tokens",
    )
    assert examples[0]["input_features"].shape == (8, 100) and len(examples.targets[0]) == 20


def test_files_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(np.zeros(800)))
    (tmp_path / "cut.wav").write_bytes(wav(np.zeros(800))[:-200])
    (tmp_path / "empty.wav").write_bytes(wav(np.zeros(0)))

    def table(content: str, name: str = "t.tsv") -> Path:
        (tmp_path / name).write_text(content)
        return tmp_path / name

    good = table("path\ttext\na.wav\ta cat\n")
    data = TASK.read([good, table('{"audio": "a.wav", "sentence": "a dog"}\n', "t.jsonl")])
    assert data.texts == ("a cat", "a dog") and data.place(0) == f"{good}: row 1, {tmp_path / 'a.wav'}"
    assert data.digest() != TASK.read([good, good]).digest()
    odd = TASK.read(table("path\ttext\na.wav\ta\ncut.wav\tb\nempty.wav\tc\n"))
    with pytest.raises(
        InputError,
        match=r"t.tsv: 2 of 3 recordings cannot be used: .*row 2, .*cut.wav: no audio that can be decoded \(cut short"
        r".*; .*empty.wav: holds no samples",
    ):
        TASK.encode(odd, speech_processor(), listener())
    for content, says in (
        ("path\ttext\nb.wav\ta\n", "row 1 has 'b.wav' for a recording; expected the path of a file, from"),
        ("path\ttext\na.wav\t\n", "row 1"),
        ("wav\ttext\na.wav\ta\n", "no column called path or audio or file; there are 'wav', 'text'"),
    ):
        with pytest.raises(InputError, match=says):
            TASK.read(table(content))
    with pytest.raises(InputError, match=r"expected a table \(.csv, .tsv or .jsonl\) with the path of a recording"):
        TASK.read(tmp_path / "a.wav")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="empty: no recordings; expected a table"):
        TASK.read(empty)
    with pytest.raises(OptionError, match="expected two, such as path,text"):
        TASK.read(good, ["path"])


def test_a_folder_with_transcripts_beside_recordings(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    for name, text in (("one/b", "a dog\nran\n"), ("a", "a cat")):
        (tmp_path / f"{name}.wav").write_bytes(wav(np.zeros(800)))
        (tmp_path / f"{name}.txt").write_text(text)
    data = TASK.read(tmp_path)
    assert data.texts == ("a cat", "a dog ran") and data.place(1) == str(tmp_path / "one/b.wav")
    (tmp_path / "c.wav").write_bytes(wav(np.zeros(800)))
    with pytest.raises(
        InputError, match=r"1 of 3 recordings have no transcript, such as .*c.wav; expected it in c.txt"
    ):
        TASK.read(tmp_path)


def test_a_processor_is_saved_and_loaded(tmp_path: Path) -> None:
    made = speech_processor()
    made.save_pretrained(tmp_path)
    again = SpeechProcessor.load(tmp_path)
    samples = tones().sounds[1]
    assert isinstance(samples, np.ndarray)
    assert torch.equal(again.features(samples), made.features(samples)) and again.longest == 16_000
    with pytest.raises(InputError, match="no feature extractor can be loaded"):
        SpeechProcessor.load(tmp_path / "absent")
