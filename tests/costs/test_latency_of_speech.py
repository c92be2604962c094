"""What is timed of a model that hears recordings: the encoder, and transcripts of the same length for all models."""

from __future__ import annotations

from pathlib import Path

import pytest

from small_tasks import listener, speech_processor, tones
from tprune.bench.work import Workload, usual_work
from tprune.core.sites import DECODER, ENCODER
from tprune.costs.latency.cache import key_of
from tprune.costs.latency.phases import TRANSCRIPTION, phases_of
from tprune.costs.latency.subject import Transcripts, check_inputs, subject_of, workload_of
from tprune.costs.latency.table import TimingConfig
from tprune.families.graphs.graph import skeleton_of
from tprune.support.errors import InputError
from tprune.tasks.speech_recognition import SPEECH_RECOGNITION as TASK


def test_phases() -> None:
    model = listener()
    found = phases_of(model)
    assert found is TRANSCRIPTION and found.names == ("encoder", "token") and found.timed == ("encoder", "recording")
    assert [part.stack for part in found.parts] == [ENCODER, DECODER]
    assert found.split({"encoder": 2.0, "recording": 12.0}, 20).parts == {"encoder": 2.0, "token": 0.5}
    work = usual_work(skeleton_of(model).phases, {"past": 20})
    assert (work.past, work.new_tokens) == (10, 10)
    with pytest.raises(InputError, match="recording: nothing says how many tokens are written; expected new_tokens"):
        Workload(measures=("recording",)).check()


def test_transcripts_are_as_long_as_the_middle_one() -> None:
    model, processor = listener(), speech_processor()
    examples = TASK.encode(tones(), processor, model)
    lengths = sorted(map(len, examples.targets))
    found = Transcripts.of(model, None, examples, TimingConfig())
    assert lengths[0] <= found.tokens <= lengths[-1] and found.work.new_tokens == found.tokens
    assert found.work.measures == ("encoder", "recording") and not found.inputs
    assert workload_of(model, None, examples, TimingConfig(), TASK)[0] == found.work
    with pytest.raises(InputError, match="30 new tokens; WhisperForConditionalGeneration has positions for 19"):
        Transcripts.of(model, None, examples, TimingConfig(new_tokens=30))
    keys = {key_of(model, TimingConfig(), each, TASK) for each in (None, examples)}
    assert len(keys) == 2 and key_of(model, TimingConfig(), examples, TASK) in keys
    with pytest.raises(InputError, match="is timed on examples of its task"):
        check_inputs(model, ["a sentence"])


@pytest.mark.slow
def test_a_dense_model_is_exported_to_be_timed(tmp_path: Path) -> None:
    found = subject_of(listener(), None, None, TimingConfig(), tmp_path / "dense")
    assert isinstance(found, Transcripts) and (tmp_path / "dense" / "encoder.onnx").exists()
