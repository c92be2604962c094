import doctest
import io
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import tprune.bench.harness
import tprune.bench.statistics
import tprune.support.machine
from tprune.bench.harness import (
    Footprint,
    Worker,
    Workload,
    _round,
    bench,
    bench_all,
)
from tprune.bench.requests import requests_of, sample, texts_of
from tprune.bench.result import result_of
from tprune.bench.statistics import median_interval, noise, self_ratio
from tprune.families.graphs.encoder_decoder import ENCODER_DECODER
from tprune.support.errors import InputError
from tprune.tasks.translation.encoding import MarianSize, new_model, train_tokenizer

MEASURES = ENCODER_DECODER.phases
SENTENCES = ["a cat sat on the mat", "two dogs play in the snow", "an old man reads", "a dog"]


class Recorder:
    def __init__(self, name: str, log: list[tuple[str, str]], milliseconds: float) -> None:
        self.name, self.log, self.milliseconds = name, log, milliseconds

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.log.append((self.name, request["do"]))
        return {"ms": self.milliseconds, "tokens": 7.0} if request["do"] == "sentence" else {"ms": self.milliseconds}


def test_sides_take_turns() -> None:
    log: list[tuple[str, str]] = []
    workers: Any = {"dense": Recorder("A", log, 2.0), "pruned": Recorder("B", log, 1.0)}
    assert _round(workers, {name: [{"do": name}] * 3 for name in MEASURES}) == {
        "dense": dict.fromkeys(MEASURES, 2.0) | {"tokens": 7.0},
        "pruned": dict.fromkeys(MEASURES, 1.0) | {"tokens": 7.0},
    }
    for measure in MEASURES:
        assert "".join(name for name, what in log if what == measure) == "ABBAAB"


def test_a_turn_is_one_batch_and_a_round_their_mean_by_sentences() -> None:
    requests = requests_of(("sentence",), texts_of(SENTENCES, 3, 20), 3, Workload())
    assert [request["sentences"] for request in requests["sentence"]] == [
        ["a dog", "an old man reads", "a cat sat on the mat"],
        ["two dogs play in the snow"],
    ]

    class Counter(Recorder):
        def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
            return {"ms": 10.0 * len(request["sentences"]), "tokens": 2.0 * len(request["sentences"])}

    workers: Any = {"dense": Counter("A", [], 0.0)}
    assert _round(workers, requests) == {"dense": {"sentence": 25.0, "tokens": 5.0}}


def result(dense: list[float], pruned: list[float]) -> Any:
    footprint = dict.fromkeys(("dense", "pruned"), Footprint(1.0, 1, 1, 1, 1, 1))
    times = {"dense": dict.fromkeys(MEASURES, dense), "pruned": dict.fromkeys(MEASURES, pruned)}
    return result_of(times, footprint, 1, 1, Workload(), "onnxruntime")


def test_speedup_is_the_median_of_each_rounds_ratio() -> None:
    # the machine slows down threefold in between: ratios of the same round do not see it
    out = result([2.0, 2.0, 2.0, 6.0, 6.0, 6.0, 6.0, 2.0], [1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0, 1.0])
    assert out.speedup == dict.fromkeys(MEASURES, 2.0)
    assert out.interval["encoder"] == (2.0, 2.0)
    assert not out.noisy
    assert out.latency_ms["dense"]["sentence"] == 4.0
    assert out.spread["pruned"]["sentence"] == (1.0, 3.0)


QUIET_ROUNDS, NOISY_ROUNDS = [1.0] * 12, [1.0, 1.1] * 6


@pytest.mark.parametrize("side", ["dense", "pruned"])
def test_noise_is_said(side: str) -> None:
    sides = (NOISY_ROUNDS, QUIET_ROUNDS) if side == "dense" else (QUIET_ROUNDS, NOISY_ROUNDS)
    out = result(*sides)
    assert out.noisy
    assert "noisy" in out.noise
    assert out.self_ratio[side]["encoder"] == pytest.approx(1 / 1.1)
    assert not result(QUIET_ROUNDS, QUIET_ROUNDS).noisy


@pytest.mark.parametrize(
    ("measures", "noisy_one", "flag"),
    [
        (MEASURES, "encoder", False),
        (MEASURES, "decoder_step", False),
        (MEASURES, "sentence", True),
        (("encoder", "decoder_step"), "encoder", False),
        (("encoder", "decoder_step"), "decoder_step", True),
        (("encoder",), "encoder", True),
    ],
)
def test_noise_of_what_is_quoted_is_what_counts(measures: tuple[str, ...], noisy_one: str, flag: bool) -> None:
    """A quiet quoted speed beside another measure that is noisy raises no flag; a noisy quoted one does."""
    footprint = dict.fromkeys(("dense", "pruned"), Footprint(1.0, 1, 1, 1, 1, 1))
    times = {
        "dense": {name: NOISY_ROUNDS if name == noisy_one else QUIET_ROUNDS for name in measures},
        "pruned": dict.fromkeys(measures, QUIET_ROUNDS),
    }
    out = result_of(times, footprint, 1, 1, Workload(measures=measures), "onnxruntime")
    assert out.noisy is flag
    assert out.reported in out.noise
    assert (out.noise.startswith("The machine was noisy")) is flag


def test_a_drift_that_both_sides_share_is_not_noise() -> None:
    """The sides slow down together in every other round: each differs from itself, their ratio never does."""
    out = result([2.0, 2.4] * 6, [1.0, 1.2] * 6)
    assert out.self_ratio["dense"]["sentence"] == pytest.approx(1 / 1.2)
    assert not out.noisy


def test_a_wide_interval_is_noise() -> None:
    assert noise({"encoder": (0.98, 1.02)})[0] is False
    noisy, says = noise({"encoder": (0.9, 1.1)})
    assert noisy
    assert "interval of the ratio of encoder reaches ±10.0%, more than 3%" in says


def test_plain_data(tmp_path: Path) -> None:
    plain = json.loads(json.dumps(result([2.0] * 6, [1.0] * 6).as_dict()))
    assert plain["latency_ms"]["dense"]["onnxruntime"] == dict.fromkeys(MEASURES, 2.0)
    assert plain["speedup"]["onnxruntime"]["sentence"] == 2.0
    assert plain["speedup_interval"]["onnxruntime"]["encoder"] == [2.0, 2.0]
    assert {k: v for k, v in plain["noise"].items() if k != "self_ratio"} == {
        "noisy": False,
        "says": "The machine was quiet: the 95 % interval of the ratio of sentence reaches ±0.0%.",
        "measure": "sentence",
        "half_width": 0.0,
    }
    assert {"cpu", "cores", "onnxruntime"} <= set(plain["machine"])
    assert plain["work"]["source"] == 25


def test_statistics() -> None:
    assert doctest.testmod(tprune.bench.statistics, optionflags=doctest.ELLIPSIS).failed == 0
    assert self_ratio([1.0, 1.0, 1.0]) == 1.0
    assert median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert median_interval(list(range(100))) == (39, 60)
    texts = [(letter, f"line {number}") for number, letter in enumerate("abcdefghij", start=1)]
    assert sample(texts, 5) == [texts[i] for i in (0, 2, 4, 6, 8)]
    assert sample(texts[:2], 5) == texts[:2]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"threads": 0}, "threads 0"),
        ({"rounds": 3}, "rounds 3"),
        ({"rounds": 5}, "rounds 5"),
        ({"batch": 0}, "batch 0"),
        ({"work": Workload(source=0)}, "source=0"),
        ({"work": Workload(beams=0)}, "beams=0"),
        ({"batch": 99}, "batch 99, but there are only"),
        ({"sentences": []}, "no sentences"),
        ({"sentences": Path("absent.txt")}, r"absent\.txt"),
    ],
)
def test_bad_arguments(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    arguments: dict[str, Any] = {"dense": tmp_path, "pruned": tmp_path, "sentences": SENTENCES} | change
    with pytest.raises(InputError, match=text):
        bench(**arguments)


def test_a_worker_that_cannot_load_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^\S*absent: no such folder") as caught:
        bench(tmp_path / "absent", tmp_path, SENTENCES)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_threads_are_at_most_the_cores_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tprune.support.machine, "usable_cores", lambda: 2)
    with pytest.raises(InputError, match=r"threads 4; expected 1 to 2, the cores that this process may use"):
        bench(Path("absent"), Path("absent"), SENTENCES, threads=4)


def test_what_a_library_prints_in_a_worker_is_no_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loud.py").write_text("print('hello')", encoding="utf-8")
    (tmp_path / "random.py").write_text("raise SystemExit('not the library')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)  # what lies there is imported where it is named, and nowhere else
    monkeypatch.setenv("TPRUNE_PLUGINS", "loud")
    with pytest.raises(InputError, match=r"^absent: no such folder"):
        bench(Path("absent"), Path("absent"), SENTENCES)


def test_a_worker_that_was_killed() -> None:
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with pytest.raises(InputError, match=r"onnx: the benchmark process was killed \(signal 9\)"):
        Worker(Path("onnx"), process, io.StringIO()).open()


@pytest.mark.slow
def test_a_model_against_itself_and_a_smaller_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tprune.bench.worker", raising=False)  # another test may have needed it
    from tprune.runtimes.export import export

    tokenizer = train_tokenizer(SENTENCES, vocabulary=60, max_length=32)
    for name, layers in (("large", (3, 3)), ("small", (1, 1))):
        model = new_model(MarianSize(64, layers, 4, 256, len(tokenizer), 0.0, 32), len(tokenizer))
        model.generation_config.max_length = 12
        export(model, tokenizer, tmp_path / name, SENTENCES[:2])
    same = bench(tmp_path / "large", tmp_path / "large", SENTENCES, rounds=8)
    assert abs(same.speedup["sentence"] - 1) <= 0.03 or same.noisy
    weights = same.footprint
    assert weights["dense"].tokens_per_sentence == weights["pruned"].tokens_per_sentence > 0
    assert (
        weights["dense"].bytes
        == weights["pruned"].bytes
        == sum(x.stat().st_size for x in (tmp_path / "large").iterdir())
    )
    (tmp_path / "s").write_text("a dog\n" + "a dog " * 200 + "\n", encoding="utf-8")
    for batch in (1, 2):
        with pytest.raises(InputError, match=r"^\S*s line 2 has 402 tokens; the model takes at most 32$"):
            bench(tmp_path / "large", tmp_path / "small", tmp_path / "s", batch=batch, rounds=4)
    other = bench(
        tmp_path / "large",
        tmp_path / "small",
        SENTENCES,
        rounds=4,
        batch=2,
        work=Workload(source=9, past=3, beams=None),
    )
    assert other.footprint["pruned"].bytes < other.footprint["dense"].bytes
    assert other.footprint["pruned"].macs < other.footprint["dense"].macs
    assert all(value > 0 for side in other.latency_ms.values() for value in side.values())
    for side in ("dense", "pruned"):
        assert other.footprint[side].peak_memory > other.footprint[side].memory_before_load > 2**20
    both = bench_all(tmp_path / "large", {name: tmp_path / name for name in ("large", "small")}, SENTENCES, rounds=4)
    assert both["small"].latency_ms["dense"] == both["large"].latency_ms["dense"]  # the same rounds of the same process
    assert both["small"].footprint["pruned"] != both["large"].footprint["pruned"]
    # a worker that dies on the way: more past tokens than the model has positions
    with pytest.raises(InputError, match=r"large: the benchmark process ended with code 1: .*out of"):
        bench(tmp_path / "large", tmp_path / "large", SENTENCES, rounds=4, work=Workload(past=200))
    assert "tprune.bench.worker" not in sys.modules
