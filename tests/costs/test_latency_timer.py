"""Timing plans side by side: rounds are added until all converge, or the machine is called noisy."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fake_bench import as_bench
from small_models import small_model
from small_pairs import model_and_tokenizer
from tprune.core.known_tasks import TASKS
from tprune.costs.latency import subject as latency_subject
from tprune.costs.latency import timer as latency_timer
from tprune.costs.latency.design import plans_for
from tprune.costs.latency.phases import TRANSLATION
from tprune.costs.latency.subject import Translations
from tprune.costs.latency.table import TimingConfig
from tprune.costs.latency.timer import DENSE, MOST_ROUNDS, Timer, converged, given_up, relative_half_width
from tprune.realise.shrink import shrink
from tprune.runtimes.artefact import read_layout
from tprune.support.errors import NoisyMachineError


def taking(ratio: float, rounds: int, noise: float = 0.0) -> Any:
    """What a benchmark says of a model so many times faster than the dense one."""
    ratios = [ratio * (1 + noise * (-1) ** number) for number in range(rounds)]
    return SimpleNamespace(
        latency_ms={"dense": {"encoder": 1.0, "sentence": 6.5}},
        ratios=dict.fromkeys(TRANSLATION.timed, ratios),
        footprint={"dense": SimpleNamespace(tokens_per_sentence=10.0, peak_memory=10**8)},
        rounds_ms={"dense": {"encoder": [1.0] * rounds, "sentence": [6.5] * rounds}},
    )


SAID: list[str] = []  # by the timer


class Machine:
    """A benchmark in which plans are this many times faster than the dense model, by the name they have, and vary so
    much.
    """

    def __init__(self, ratio: Mapping[str, float], noise: Mapping[str, float]) -> None:
        self.ratio, self.noise, self.calls = ratio, noise, list[tuple[str, ...]]()

    def __call__(self, call: Any) -> dict[str, Any]:
        self.calls.append(tuple(call.others))
        return {n: taking(self.ratio.get(n, 1.0), call.rounds, self.noise.get(n, 0.0)) for n in call.others}


@pytest.fixture
def timer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Timer:
    """One that has nothing exported, and exports nothing."""
    found = Timer.__new__(Timer)
    found.model, found.setting = small_model("marian"), TimingConfig()
    found.subject = Translations(None, (), found.setting, TRANSLATION, 9, TASKS["translation"])
    found.folder, found._copies, found.report = tmp_path, 2, SAID.append
    SAID.clear()
    monkeypatch.setattr(latency_subject, "export", lambda model, out, **how: out.mkdir(exist_ok=True))
    return found


def test_plans_share_their_rounds_until_all_are_steady(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine({"small": 2.0, "large": 1.1}, {"small": 0.02})
    monkeypatch.setattr(latency_timer, "bench_all", as_bench(machine))
    one, other = list(plans_for(timer.model, ("ffn",)))[:2]
    seen = list(timer.side_by_side({"small": one, "large": other}))
    assert [len(ratios[0]["sentence"]) for ratios in seen] == [4, 8]
    assert machine.calls == [("small", "large", "dense 1", "dense 2")] * 2
    assert seen[-1][1]["encoder"] == (1.1,) * 8 and all(converged(each, timer.setting) for each in seen[-1])
    assert not list(timer.side_by_side({"small": one, "large": other}, seen[-1]))  # nothing is left to do


def test_the_dense_models_time_is_the_mean_of_its_copies(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        latency_timer, "bench_all", as_bench(Machine({"plan": 2.0, "dense 1": 0.8, "dense 2": 1.25}, {}))
    )
    *_, (ratios,) = timer.side_by_side({"plan": next(plans_for(timer.model, ("ffn",)))})
    assert ratios["sentence"] == pytest.approx([2.0 * (1 + 1.25 + 0.8) / 3] * 8)


def test_a_plan_that_varies_is_timed_longer_and_then_given_up(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine({"a": 1.5}, {"a": 0.2})
    monkeypatch.setattr(latency_timer, "bench_all", as_bench(machine))
    plan = next(plans_for(timer.model, ("ffn",)))
    *_, (ratios,) = timer.side_by_side({"a": plan})
    assert given_up(ratios, timer.setting) and not converged(ratios, timer.setting)
    assert 4 * len(machine.calls) == MOST_ROUNDS * timer.setting.rounds == 64
    says = r"a: the ratio to the dense model varies by 20\.0% over 64 rounds, more than 6%"
    assert len(SAID) == 1 and re.match(rf"warning: {says}: .*used in this run and not kept", SAID[0])
    assert relative_half_width(dict.fromkeys(TRANSLATION.timed, (0.8, 1.2) * 4)) == pytest.approx(0.2)
    monkeypatch.setattr(latency_timer, "bench_all", as_bench(Machine({}, {"the smaller vocabulary": 0.2})))
    assert timer.compare(timer.model, "the smaller vocabulary")["sentence"] == pytest.approx(1.0)
    assert len(SAID) == 2 and "the smaller vocabulary: the ratio" in SAID[1]


def test_times_that_say_nothing_are_refused(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_timer, "bench_all", as_bench(Machine({"b": 1.5}, {"a": 0.3, "b": 0.2})))
    one, other = list(plans_for(timer.model, ("ffn",)))[:2]
    with pytest.raises(NoisyMachineError, match=r"^a \(and 1 more\): the ratio .* varies by 30\.0% over 64 rounds"):
        list(timer.side_by_side({"a": one, "b": other}))
    assert not SAID


@pytest.mark.parametrize(("times", "rounds", "noisy"), [((2.3,), 8, False), ((2.3, 54.0), 24, True)])
def test_the_dense_models_time_is_warned_of_where_it_varies(
    timer: Timer, monkeypatch: pytest.MonkeyPatch, times: tuple[float, ...], rounds: int, noisy: bool
) -> None:
    asked: list[int] = []

    def bench(call: Any) -> Any:
        asked.append(call.rounds)
        found = taking(1.0, call.rounds)
        found.rounds_ms["dense"]["sentence"] = [times[i % len(times)] for i in range(call.rounds)]
        return {"again": found}

    monkeypatch.setattr(latency_timer, "bench_all", as_bench(bench))
    table = timer.dense("key")
    assert sum(asked) == rounds and (table.dense_spread > DENSE) is noisy
    assert table.dense.total == pytest.approx(sum(times) / len(times)) and table.peak_memory == 10**8
    assert [line.startswith("warning: the dense model takes 28.1 ms a sentence ±92%") for line in SAID] == [
        True
    ] * noisy


def test_large_models_are_timed_without_copies_beside_them(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine({}, {})
    monkeypatch.setattr(latency_timer, "bench_all", as_bench(machine))
    timer._copies = 0
    assert timer.compare(timer.model, "it") == {"encoder": 1.0, "sentence": 1.0} and set(machine.calls) == {("it",)}


@pytest.mark.slow
def test_exports_write_equally_many_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = model_and_tokenizer()

    def by_layout(call: Any) -> Any:
        macs = {name: read_layout(folder).macs for name, folder in [("", call.dense), *call.others.items()]}
        return {name: taking(macs[""] / macs[name], call.rounds) for name in call.others}

    monkeypatch.setattr(latency_timer, "bench_all", as_bench(by_layout))
    timer = Timer(model, tokenizer, ("a cat sat",), replace(TimingConfig(), rounds=4), tmp_path)
    assert timer.together == latency_timer.TOGETHER
    table = timer.dense("key")
    assert table.dense.of("token") == pytest.approx((6.5 - 1) / table.tokens) and table.peak_memory == 10**8
    plan = next(plans_for(model, ("ffn",)))
    *_, (ratios,) = timer.side_by_side({"a plan": plan})
    assert timer.times(plan, table).total == pytest.approx(6.5 / ratios["sentence"][0]) and ratios["sentence"][0] > 1
    lengths = {read_layout(tmp_path / name).generation.max_length for name in ("dense", "plan 0", "pruned")}
    assert lengths == {table.tokens + 1}
    assert timer.compare(shrink(model, plan), "it")["sentence"] == pytest.approx(ratios["sentence"][0])
