"""Models that run in one pass, and language models with a cache, are timed by phases of their own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tprune.bench.harness import Footprint, Workload, bench
from tprune.bench.known_phases import PHASES, Feed, Phase, label_of, measured_for, quoted_words, reported, with_composed
from tprune.bench.phases import measure, typical
from tprune.bench.requests import requests_of
from tprune.bench.result import result_of
from tprune.bench.work import usual_work
from tprune.core.caches import LayerCache
from tprune.core.graph import Signature, TensorSpec
from tprune.families.graphs.decoder_only import signature_of
from tprune.runtimes.layout import Layout
from tprune.runtimes.one_pass import OnePass
from tprune.support.errors import InputError
from tprune.support.manifest import Manifest

PIXELS = TensorSpec("pixel_values", "float32", ("batch", 3, 4, 4))


class Recorder:
    """A session that remembers the shapes it was fed, and answers with as many tokens as it read."""

    def __init__(self) -> None:
        self.fed: list[dict[str, tuple[int, ...]]] = []

    def run(self, graph: str, feeds: Any, outputs: Any) -> list[Any]:
        self.fed.append({name: x.shape for name, x in feeds.items()})
        rows, tokens = next(iter(feeds.values())).shape[:2]
        past = next((x.shape[2] for name, x in feeds.items() if name.startswith("past")), 0)
        return [np.zeros((rows, 2, past + tokens, 4), np.float32) for _ in outputs]


def made(task: str, phases: tuple[str, ...], graph: Signature, **limits: int) -> OnePass:
    layout = Layout(task=task, phases=phases, graphs=(graph,), limits=limits, parameters=1, macs=1, files=Manifest({}))
    return OnePass(layout, Recorder())


def llama() -> OnePass:
    return made("language-modelling", ("prefill", "step"), signature_of([LayerCache(0, 2, 4, 4)]), total=20)


def images() -> OnePass:
    return made("image-classification", ("pass",), Signature("model", (PIXELS,), ("logits",)))


def fed(model: OnePass) -> list[dict[str, tuple[int, ...]]]:
    session: Any = model.session
    found: list[dict[str, tuple[int, ...]]] = session.fed
    return found


def request(phase: str, source: int = 7, past: int = 5, batch: int = 2, **more: Any) -> dict[str, Any]:
    return {"do": phase, "source": source, "past": past, "batch": batch, **more}


def test_a_prefill_reads_and_a_step_follows() -> None:
    model = llama()
    assert measure(model, request("prefill"))["ms"] > 0
    assert fed(model)[-1] == {
        "input_ids": (2, 7),
        "attention_mask": (2, 7),
        "past_key_0": (2, 2, 0, 4),
        "past_value_0": (2, 2, 0, 4),
    }
    measure(model, request("step"))
    assert fed(model)[-1] == {
        "input_ids": (2, 1),
        "attention_mask": (2, 6),
        "past_key_0": (2, 2, 5, 4),
        "past_value_0": (2, 2, 5, 4),
    }
    measure(model, request("step", past=0))
    assert fed(model)[-1]["attention_mask"] == (2, 1)


def test_a_pass_takes_typical_inputs_or_given_ones(tmp_path: Path) -> None:
    model = images()
    measure(model, request("pass"))
    assert fed(model)[-1] == {"pixel_values": (2, 3, 4, 4)}
    given = [{"pixel_values": np.ones((rows, 3, 4, 4), np.float32)} for rows in (1, 5)]
    turns = requests_of(("pass",), [], 1, Workload(), given, tmp_path)["pass"]
    assert len(turns) == 2
    for turn, batch in zip(turns, given, strict=True):
        measure(model, turn)
        assert fed(model)[-1] == {"pixel_values": batch["pixel_values"].shape}
    found = typical(llama(), 2, 3)
    assert (found["attention_mask"] == 1).all() and (found["input_ids"] == 0).all()


def test_phases_and_lengths_that_a_model_does_not_have() -> None:
    with pytest.raises(InputError, match="language-modelling is timed by prefill, step, not by encoder"):
        measure(llama(), request("encoder"))
    with pytest.raises(InputError, match="source length 21; expected 1 to 20 tokens"):
        measure(llama(), request("prefill", source=21))
    with pytest.raises(InputError, match="past and one token 21; expected 1 to 20 tokens"):
        measure(llama(), request("step", past=20))
    assert measure(images(), request("pass", source=10**6))["ms"] > 0  # images have no length


def test_models_of_different_kinds_and_sentences_for_none(tmp_path: Path) -> None:
    for name, model in (("llama", llama()), ("images", images())):
        (tmp_path / name).mkdir()
        model.layout.write(tmp_path / name)
    with pytest.raises(InputError, match=r"llama is timed by prefill, step, \S*images by pass; expected models of one"):
        bench(tmp_path / "llama", tmp_path / "images")
    with pytest.raises(InputError, match="images: a model for image-classification, which is timed without sentences"):
        bench(tmp_path / "images", tmp_path / "images", ["a dog"])
    with pytest.raises(InputError, match=r"lists no model\.onnx"):
        bench(tmp_path / "images", tmp_path / "images")
    with pytest.raises(InputError, match="no sentences to translate"):
        bench(tmp_path / "images", tmp_path / "images", work=Workload(measures=("sentence",)))


def test_the_phase_that_a_speed_is_quoted_of() -> None:
    assert reported(("pass",)) == "pass" and reported(("prefill", "step")) == "step"
    assert reported(("prefill", "step", "text")) == "text" and reported(PHASES) == "sentence"
    assert reported(("decoder_step", "encoder")) == "decoder_step" and reported(("of a plugin",)) == "of a plugin"


def test_a_text_is_composed_and_says_so() -> None:
    """Of every round by itself, so that its interval is that of the whole."""
    sides = {
        "dense": {"prefill": [2.0, 4.0], "step": [0.5, 0.25]},
        "pruned": {"prefill": [1.0, 1.0], "step": [0.1] * 2},
    }
    footprint = dict.fromkeys(sides, Footprint(0.0, 1, 1, 1, 1, 1))
    times = {side: with_composed(each, 10) for side, each in sides.items()}
    found = result_of(times, footprint, 1, 1, Workload(new_tokens=10), "onnxruntime")
    assert found.reported == "text" and found.ratios["text"] == [3.5, 3.25] and "ratio of text" in found.noise
    assert found.as_dict()["composed"] == {"text": {"prefill": 1, "step": 10}}
    assert label_of("text", 10) == "text (composed: prefill + 10 x step), ms" and quoted_words("text") == "a text"
    assert measured_for(("text",)) == ("prefill", "step")
    with pytest.raises(InputError, match="text is composed; expected how many steps"):
        Workload(measures=("text",)).check()
    with pytest.raises(InputError, match="timed by prefill, step, not by text"):
        measure(llama(), request("text"))


def test_a_whole_text_fits_into_the_model() -> None:
    """The steps are timed in the middle of what is written; models without steps are timed as ever."""
    for most in (2, 3, 20, 44, 45, 2048):
        work = usual_work(("prefill", "step"), {"total": most})
        assert work.source + work.new_tokens <= most and work.past == work.source + work.new_tokens // 2
    assert (work.source, work.past, work.new_tokens) == (25, 35, 20)
    assert usual_work(("encoder", "decoder_step", "sentence"), {"total": 20}) == Workload()


def test_a_phase_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a plugin enters is asked for, timed, quoted and named in tables by its entry alone."""
    monkeypatch.setattr(PHASES, "entered", {})
    model = made("transcription", ("frame",), Signature("model", (PIXELS,), ("logits",)))
    with pytest.raises(
        InputError, match="expected some of encoder, decoder_step, sentence, recording, pass, prefill, step, text"
    ):
        Workload(measures=("frame",)).check()
    with pytest.raises(InputError, match="phase 'frame' cannot be entered: expected either time or parts"):
        PHASES.enter("frame", Phase("frame"))
    PHASES.enter("frame", Phase("audio frame", lambda _, asked: {"ms": asked["batch"]}, Feed.BATCHES, quoted=True))
    Workload(measures=("frame",)).check()
    given = [{"pixel_values": np.ones((2, 3, 4, 4), np.float32)}] * 3
    turns = requests_of(("frame",), [], 2, Workload(), given, tmp_path)["frame"]
    assert len(turns) == 3 and [measure(model, turn) for turn in turns] == [{"ms": 2}] * 3
    assert reported(("frame", "step")) == "frame" and quoted_words("frame") == "an audio frame"
    assert label_of("frame", 20) == "audio frame, ms"


@pytest.mark.slow
def test_a_model_against_itself(tmp_path: Path) -> None:
    """No sentences, one phase, no tokens written; the same folder twice is equally fast, or the machine is noisy."""
    from table_models import table_model
    from tprune.runtimes.export import export

    export(table_model("resnet").float(), None, tmp_path / "out")
    found = bench(tmp_path / "out", tmp_path / "out", rounds=8, batch=2)
    low, high = found.interval["pass"]
    assert list(found.speedup) == ["pass"] and found.reported == "pass" and found.work.measures == ("pass",)
    assert (low <= 1.05 and high >= 0.95) or found.noisy
    assert found.footprint["dense"].tokens_per_sentence == 0 and found.footprint["pruned"].macs > 0
    assert found.as_dict()["speedup"]["onnxruntime"]["pass"] > 0
