"""Kept latency tables: only what is missing is timed, old ones are looked at again; and runs that ask for a time."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_latency_timer import taking

from fake_bench import as_bench
from sentence_times import sentence_times
from small_models import small_model
from small_pairs import PAIRS
from tprune.budget.reach import Feasibility
from tprune.costs.latency import cache as latency_cache
from tprune.costs.latency import subject as latency_subject
from tprune.costs.latency import timer as latency_timer
from tprune.costs.latency.cache import key_of, measured
from tprune.costs.latency.design import plans_for
from tprune.costs.latency.phases import TRANSLATION, Times
from tprune.costs.latency.shelf import Shelf
from tprune.costs.latency.table import LatencyTable, Ratios, TimingConfig
from tprune.counting.size import size
from tprune.data.parallel import Corpus, Parallel
from tprune.realise.checkpoint import load
from tprune.recipe.reader import check_recipe
from tprune.recipe.schema import Prune
from tprune.report.results import RunResults, WrittenTokens
from tprune.report.table import notes
from tprune.run.estimates import planned
from tprune.run.folder import Run
from tprune.run.stages import run
from tprune.run.steps import plan_step
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.export import export
from tprune.support.errors import InputError, NoisyMachineError, UnreachableError
from tprune.support.files import read_json, write_json
from tprune.support.reporting import Progress
from tprune.vocabulary.trim import write_only_

DENSE = LatencyTable("0" * 16, TimingConfig(), sentence_times(2.0, 0.5, 12.0), 20.0, (), {}, 50_000_000)


def test_a_table_is_for_one_model_and_one_setting() -> None:
    model, setting = small_model("marian"), TimingConfig()
    assert key_of(model, setting) == key_of(small_model("marian", seed=1), setting)
    never = small_model("marian")
    write_only_(never, range(5))
    assert key_of(never, setting) != key_of(model, setting)  # its decoder is another
    assert (
        len({key_of(model, setting), key_of(model, replace(setting, threads=2)), key_of(small_model("bart"), setting)})
        == 3
    )


def by_multiplications(call: Any) -> Any:
    """A machine whose times are the multiplications, for want of a quiet one."""
    folders = {"": call.dense, **call.others}
    macs = {name: float(read_json(folder.with_suffix(".json"))) for name, folder in folders.items()}
    return {name: taking(macs[""] / macs[name], call.rounds) for name in call.others}


def exported(model: Any, out: Path, **how: Any) -> None:
    """A dense model's export; of a smaller one only the multiplications, which are all that such a machine looks at."""
    if out.name == "dense":
        export(model, out=out, **how)
    write_json(out.with_suffix(".json"), size(model).macs)


class Fake:
    """A timer on a machine where every plan takes the same, until it is told to be noisy or faster."""

    made = 0
    timed: tuple[str, ...] = ()
    rounds = 0
    noisy_after = 1000
    faster = 1.25
    sentence = 12.0  # milliseconds of the dense model
    spread = 0.0  # of them
    together = 24

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        sentences: Any,
        setting: TimingConfig,
        folder: Path,
        tokens: Any = None,
        report: Any = None,
        task: Any = None,
    ) -> None:
        Fake.made += 1

    def dense(self, key: str) -> LatencyTable:
        times = sentence_times(Fake.sentence / 6, Fake.sentence / 24, Fake.sentence)
        return replace(DENSE, key=key, dense=times, dense_spread=Fake.spread)

    def side_by_side(self, plans: Mapping[str, Any], known: Sequence[Ratios]) -> Iterator[Sequence[Ratios]]:
        Fake.timed = tuple(plans)
        found = known
        while len(found[0]["sentence"]) < TimingConfig().rounds:
            if Fake.rounds >= Fake.noisy_after:
                raise NoisyMachineError("a plan")
            Fake.rounds += 4
            found = [{name: (*each[name], *4 * [Fake.faster]) for name in TRANSLATION.timed} for each in found]
            yield found

    def times(self, plan: Any, table: LatencyTable, against: float | None = None) -> Times:
        Fake.timed = ("one",)
        return table.times(dict.fromkeys(TRANSLATION.timed, Fake.faster))


class Cache:
    """Tables of one small model, measured by a fake timer; what it says and how many plans it times is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.model, self.said = folder, small_model("marian"), list[str]()

    def table(self, *kinds: str, asked: Any = None) -> LatencyTable:
        self.said.clear()
        Fake.timed, Fake.rounds = (), 0
        return measured(
            self.model, None, ["a"], TimingConfig(), self.folder, self.said.append, kinds, removal=False, asked=asked
        )

    def reach(self, *kinds: str, **target: float) -> Feasibility:
        how = Prune(steps=0, kinds=list(kinds), **target)
        return Feasibility(self.model, plan_step(self.model, how), how)

    @property
    def path(self) -> Path:
        return next(self.folder.glob("*.json"))

    def grow_old(self) -> None:
        os.utime(self.path, (0, 0))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr(latency_cache, "Timer", Fake)
    monkeypatch.setattr(Fake, "noisy_after", 1000)
    monkeypatch.setattr(Fake, "faster", 1.25)
    monkeypatch.setattr(Fake, "sentence", 12.0)
    monkeypatch.setattr(Fake, "spread", 0.0)
    return Cache(tmp_path)


def count(cache: Cache, *kinds: str) -> int:
    return len(list(plans_for(cache.model, kinds, removal=False)))


def test_only_what_is_missing_is_timed(cache: Cache) -> None:
    assert cache.table() == replace(DENSE, key=cache.path.stem) and not cache.said
    ffn = cache.table("ffn")
    assert len(ffn.plans) == len(Fake.timed) == count(cache, "ffn") and Fake.rounds == 8
    assert {timed.medians["sentence"] for timed in ffn.plans} == {1.25} and ffn.prices
    assert cache.said == [
        f"exporting {len(ffn.plans)} plans, to be timed side by side",
        *(
            f"{rounds} rounds; {good} of {len(ffn.plans)} plans are known to within ±6%"
            for rounds, good in ((4, 0), (8, len(ffn.plans)))
        ),
    ]
    made = Fake.made
    assert cache.table("ffn") == ffn and not cache.said and Fake.made == made
    both = cache.table("ffn", "qk")
    assert len(both.plans) == len(ffn.plans) + len(Fake.timed) and len(Fake.timed) == count(cache, "ffn", "qk")


def test_a_table_that_was_stopped_goes_on(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "noisy_after", 4)
    with pytest.raises(NoisyMachineError, match="a plan"):
        cache.table("ffn")
    assert {len(t.ratios["sentence"]) for t in LatencyTable.load(cache.path).plans} == {4}
    monkeypatch.setattr(Fake, "noisy_after", 1000)
    assert {len(t.ratios["sentence"]) for t in cache.table("ffn").plans} == {8} and Fake.rounds == 4


def test_a_plan_that_never_became_steady_is_timed_from_the_start(cache: Cache) -> None:
    table = cache.table("ffn")
    rounds = dict.fromkeys(TRANSLATION.timed, (1.0, 2.0) * 32)
    first = replace(table.plans[0], ratios=rounds)
    write_json(cache.path, replace(table, plans=(first, *table.plans[1:])).to_dict())
    again = cache.table("ffn")
    assert len(Fake.timed) == 1 and Fake.rounds == 8
    assert {timed.medians["sentence"] for timed in again.plans} == {1.25} and len(again.plans) == len(table.plans)


def test_only_so_many_plans_are_timed_side_by_side(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "together", 5)
    table = cache.table("ffn")
    assert sum("exporting" in said for said in cache.said) == -(-len(table.plans) // 5)
    assert cache.said[0].startswith("exporting 5 plans")


def test_a_table_of_another_key_is_not_believed_and_a_folder_that_cannot_be_written_is_named(
    cache: Cache, tmp_path: Path
) -> None:
    ffn = cache.table("ffn")
    write_json(cache.path, replace(ffn, key="of another", dense=sentence_times(1.0, 1.0, 21.0)).to_dict())
    assert cache.table("ffn") == ffn and len(Fake.timed) == len(ffn.plans)
    (tmp_path / "file").write_text("")
    cache.folder = tmp_path / "file" / "cache"
    made = Fake.made
    with pytest.raises(InputError, match=r"file/cache: latency tables cannot be kept there .*XDG_CACHE_HOME"):
        cache.table("ffn")
    assert Fake.made == made  # before anything is exported


def test_an_old_table_is_looked_at_again_and_stays_where_nothing_has_moved(cache: Cache) -> None:
    ffn = cache.table("ffn")
    cache.grow_old()
    assert (
        cache.table().plans == ffn.plans and not Fake.timed
    )  # the dense model alone is asked for: nothing is thrown away
    assert cache.table("ffn") == ffn and Fake.timed == ("one",) and not cache.said
    assert cache.table("ffn") == ffn and not Fake.timed  # it is not old any more


def test_a_machine_that_has_changed_gets_a_new_table(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    ffn = cache.table("ffn")
    cache.grow_old()
    monkeypatch.setattr(Fake, "faster", 1.5)
    again = cache.table("ffn")
    assert cache.said[0] == "a plan of the kept latency table takes 17% less time than it did; all are timed again"
    assert len(again.plans) == len(ffn.plans) and {timed.medians["sentence"] for timed in again.plans} == {1.5}
    cache.grow_old()
    heads = cache.table("heads").plans
    assert len(heads) == len(Fake.timed) == count(cache, "heads")  # no plan in common: nothing to go by


def under_load(monkeypatch: pytest.MonkeyPatch, spread: float = 0.0) -> None:
    """A machine on which everything takes as long as the dense model: 54 ms instead of 2.3."""
    monkeypatch.setattr(Fake, "sentence", 54.0)
    monkeypatch.setattr(Fake, "faster", 54 / 55)
    monkeypatch.setattr(Fake, "spread", spread)


def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "sentence", 2.3)
    monkeypatch.setattr(Fake, "faster", 3.0)
    monkeypatch.setattr(Fake, "spread", 0.0)


def test_what_was_measured_under_load_refuses_nothing_later(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    under_load(monkeypatch)
    with pytest.raises(UnreachableError, match=r"one group left in every coupling it takes 55 ms .* dense model 54 ms"):
        cache.table("ffn", asked=cache.reach("ffn", latency_ms=20))  # so it was then
    cache.table("ffn")  # and so it was kept
    undisturbed(monkeypatch)
    with pytest.raises(InputError, match=r"asked for 20 ms a sentence, but the dense model takes 2.3 ms already"):
        cache.table("ffn", asked=cache.reach("ffn", latency_ms=20))
    assert "timed again before it is believed" in cache.said[0] and "corrected" in cache.said[1]
    found = cache.table("ffn", asked=cache.reach("ffn", latency_ms=1.5))
    assert found.dense.total == 2.3 and {t.medians["sentence"] for t in found.plans} == {3.0}
    assert LatencyTable.load(cache.path).plans == found.plans
    assert "believed" in cache.said[0] and cache.said[1].endswith("all plans are timed again")


def test_a_new_table_learns_from_the_smallest_model_before_it_refuses(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_size(self: Any, plans: Mapping[str, Any], known: Any) -> Iterator[Sequence[Ratios]]:
        shares = [sum(float(e.keep.double().mean()) for e in p.entries) / len(p.entries) for p in plans.values()]
        yield [dict.fromkeys(TRANSLATION.timed, (1 / (0.5 + 0.5 * share),) * 8) for share in shares]

    monkeypatch.setattr(Fake, "side_by_side", by_size)
    monkeypatch.setattr(
        Fake, "times", lambda self, plan, table, against=None: table.times(dict.fromkeys(TRANSLATION.timed, 3.3))
    )
    found = cache.table("ffn", asked=cache.reach("ffn", latency_ms=5.0))  # its plans say that half is all there is
    assert cache.reach("ffn", latency_ms=5.0).refused(found) is None
    assert not [line for line in cache.said if "again" in line]


def test_a_kept_table_that_is_right_still_refuses(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    ffn, made = cache.table("ffn"), Fake.made
    with pytest.raises(UnreachableError, match=r"asked for 6.5 ms .* as little left as may be it takes 9.6 ms"):
        cache.table("ffn", asked=cache.reach("ffn", latency_ms=6.5))
    assert Fake.made == made + 1 and Fake.timed == ("one",)  # the dense model and the smallest plan, and no others
    assert cache.table("ffn") == ffn


def test_noisy_times_serve_one_call_and_are_not_kept(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    under_load(monkeypatch, spread=0.4)
    noisy = cache.table("ffn")
    assert noisy.dense.total == 54.0 and len(noisy.plans) == count(cache, "ffn")
    assert read_json(cache.path)["dense"] is None
    undisturbed(monkeypatch)
    made = Fake.made
    calm = cache.table("ffn")
    assert calm.dense.total == 2.3 and Fake.made == made + 1 and not Fake.timed  # ratios that had converged stay
    assert read_json(cache.path)["dense"]["total"] == 2.3
    shelf = Shelf(cache.path, cache.path.stem)
    varying = replace(calm.plans[0], ratios=dict.fromkeys(TRANSLATION.timed, (1.0, 1.4) * 32))
    shelf.write(replace(calm, plans=(varying, *calm.plans[1:])))
    assert len(LatencyTable.load(cache.path).plans) == len(calm.plans) - 1


def test_a_target_that_is_met_is_said_before_plans_are_timed(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed(monkeypatch)
    with pytest.raises(
        InputError, match=r"asked for 20 ms a sentence, but the dense model takes 2.3 ms already; nothing"
    ):
        cache.table("ffn", asked=cache.reach("ffn", latency_ms=20.0))
    assert not Fake.timed
    assert cache.table("ffn", asked=cache.reach("ffn", latency_ms=2.0)).plans


def test_the_dense_time_of_an_old_table_is_timed_again(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    ffn = cache.table("ffn")
    cache.grow_old()
    monkeypatch.setattr(Fake, "sentence", 24.0)
    again = cache.table("ffn")
    assert again.dense.total == 24.0 and again.plans == ffn.plans and Fake.timed == ("one",)
    assert cache.said == ["the dense model takes 24 ms a sentence; the kept latency table said 12 ms, and is corrected"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that runs of the same shapes share: a table takes longer than all else in them."""
    return tmp_path_factory.mktemp("tables")


def multiplications_are_time(monkeypatch: pytest.MonkeyPatch, tables: Path) -> None:
    monkeypatch.setattr(latency_timer, "bench_all", as_bench(by_multiplications))
    monkeypatch.setattr(latency_subject, "export", exported)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tables))


def a_run(
    out: Path, speedup: float, vocabulary: Parallel | None = None, *, prune: Any = None, recover: Any = None
) -> RunResults:
    stage = {"steps": 2, "warmup": 1, "batch_tokens": 64}
    recipe = check_recipe(
        {
            "data": {},
            "model": {"d_model": 16, "layers": [1, 1], "heads": 2, "ffn": 32, "vocabulary": 40, "positions": 32},
            "train": stage,
            "analyze": {"steps": 2, "batch_tokens": 64},
            "prune": {**stage, "speedup": speedup, **(prune or {})},
            "recover": {**stage, **(recover or {})},
            "bench": {"sentences": 2, "rounds": 4},
        }
    )
    corpus = Corpus(PAIRS, PAIRS.head(8), {"test": PAIRS.head(8)})
    progress = Progress(planned(recipe, vocabulary is not None))
    return RunResults.from_dict(run(Run(out, recipe, corpus, None, "test", progress, vocabulary=vocabulary)))


@pytest.mark.slow
@pytest.mark.xdist_group("tables")
def test_a_run_that_is_asked_for_a_time(tmp_path: Path, tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    multiplications_are_time(monkeypatch, tables)
    results = a_run(tmp_path / "run", 1.1)
    asked, predicted = results.target.asked["sentence_ms"], results.target.reached["sentence_ms"]
    assert asked == pytest.approx(6.5 / 1.1) and 0 < predicted <= asked and results.target.speedup == 1.1
    assert results.pruned.macs < results.dense.macs
    assert f"asked for 1.1x, predicted {6.5 / predicted:.2f}x, measured " in notes(results)[0]
    assert LatencyTable.load(tmp_path / "run" / "latency.json").prices


@pytest.mark.slow
@pytest.mark.xdist_group("tables")
def test_a_run_that_writes_fewer_tokens(tmp_path: Path, tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    multiplications_are_time(monkeypatch, tables)
    out = tmp_path / "run"
    results = a_run(out, 1.2, recover={"distill": 0.0, "sequence_distillation": 0.5}, prune={"output_vocabulary": 36})
    kept = read_json(out / "stages" / "resegment.json")["kept"]
    pruned = load(out / "pruned")
    assert len(kept) <= 36 and sorted([*pruned.generation_config.suppress_tokens, *kept]) == list(range(40))
    faster = read_json(out / "stages" / "profile.json")["faster"]
    longer = read_json(out / "stages" / "resegment.json")["longer"]
    assert faster > 0.8 and longer >= 1
    asked, predicted = results.target.asked["sentence_ms"], results.target.reached["sentence_ms"]
    assert asked == pytest.approx(6.5 / 1.2) and 0 < predicted <= asked
    assert results.spelling == WrittenTokens(len(kept), 40, longer)
    assert any(f"writes {len(kept)} of 40 tokens" in line for line in notes(results))
    assert read_layout(out / "onnx" / "pruned").macs < read_layout(out / "onnx" / "dense").macs


@pytest.mark.slow
@pytest.mark.xdist_group("tables")
@pytest.mark.parametrize("speedup", [1.4, 1.0001])
def test_a_speedup_counts_from_the_model_before_its_vocabulary_is_trimmed(
    tmp_path: Path, tables: Path, monkeypatch: pytest.MonkeyPatch, speedup: float
) -> None:
    multiplications_are_time(monkeypatch, tables)
    out = tmp_path / "run"
    results = a_run(out, speedup, PAIRS.head(1))
    faster = read_json(out / "stages" / "profile.json")["faster"]
    dense, trimmed = (read_layout(out / "onnx" / "dense").macs, size(load(out / "trimmed")).macs)
    assert faster == pytest.approx(dense / trimmed, rel=0.02) and faster > 1.01
    asked, predicted = results.target.asked["sentence_ms"], results.target.reached["sentence_ms"]
    assert asked == pytest.approx(6.5 * faster / speedup) and 0 < predicted <= asked
    assert read_json(out / "forecast.json")["speedup"] == pytest.approx(6.5 * faster / predicted)
    assert results.target.speedup == speedup
