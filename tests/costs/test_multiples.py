"""Sizes that a runtime likes: found where they are faster, left alone where they are not, kept and used."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tprune.core.precision import FP32, INT8
from tprune.costs.latency.table import TimingConfig
from tprune.costs.multiples import sweep as sweeping
from tprune.costs.multiples.choice import Chosen, chosen, ratios_of
from tprune.costs.multiples.probes import PROBES
from tprune.costs.multiples.store import Tuned, file_of, keep, kept, preferred
from tprune.costs.multiples.tune import tune
from tprune.recipe.changes import built_in, changed
from tprune.recipe.reader import read_recipe
from tprune.recipe.schema import Recipe
from tprune.run.folder import Run
from tprune.run.multiples import liked, with_liked_multiples, with_multiples
from tprune.runtimes.coreml.engine import COREML
from tprune.runtimes.onnxruntime.engine import ONNXRUNTIME
from tprune.support.errors import InputError

SIZES = PROBES["units"].sizes()


def rounds(likes: int, slower: float = 1.15, noise: float = 0.01) -> list[dict[int, float]]:
    """A machine on which sizes that are no multiples of a number take longer; slow minutes come and go."""
    chance, found = random.Random(0), []
    for number in range(15):
        minute = 1 + 0.5 * (number % 3)
        found.append(
            {
                size: minute * (20 + size) * (1 if size % likes == 0 else slower) * chance.uniform(1 - noise, 1 + noise)
                for size in SIZES
            }
        )
    return found


@pytest.mark.parametrize("likes", [4, 8, 16, 32, 64])
def test_the_multiple_that_is_liked_is_found(likes: int) -> None:
    found = chosen(ratios_of(SIZES, rounds(likes)), own=1)
    assert found.tuned and found.multiple == likes
    assert found.excess[str(likes)].median == pytest.approx(1, abs=0.01) and found.excess["1"].low > 1.1


@pytest.mark.parametrize("machine", [rounds(1), rounds(8, slower=1.02), rounds(8, slower=1.1, noise=0.6)])
def test_what_is_inside_the_noise_or_too_little_leaves_the_default(machine: list[dict[int, float]]) -> None:
    found = chosen(ratios_of(SIZES, machine), own=4)
    assert not found.tuned and found.multiple == 4


def test_one_slow_class_of_sizes_is_no_reason_to_round_to_it() -> None:
    """Odd sizes are fast there, so multiples gain nothing."""
    times = [{size: 20.0 + size * (1.04 if SIZES[size] == 8 else 1) for size in SIZES} for _ in range(9)]
    assert not chosen(ratios_of(SIZES, times), own=1).tuned


class Clock:
    """In place of turns: the time of a size on a machine that likes multiples of 8."""

    def __init__(self) -> None:
        self.turns: list[int] = []

    def turn(self, session: Any, size: int, feeds: Mapping[str, Any], repeats: int) -> float:
        (given,) = session.run(f"size{size}", feeds, ("y",))
        assert given.shape[0] == feeds["x"].shape[0]
        self.turns.append(size)
        return size * (1.0 if size % 8 == 0 else 1.2)


@pytest.mark.slow
def test_a_sweep_in_onnxruntime_is_kept_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(sweeping, "_turn", clock.turn)
    monkeypatch.setattr(sweeping, "PROBES", {name: PROBES[name] for name in ("units", "head dimensions")})
    said = tune("onnxruntime", FP32, cache=tmp_path, rounds=6)
    assert said["multiples"] == {"ffn": 8, "qk": 8, "vo": 8} and Path(said["file"]).is_file()
    first = [size for size in clock.turns if size > 100][-2 * 13 :: 2]
    assert len(set(first)) == 13  # every size has its turn in a round
    assert preferred(ONNXRUNTIME, FP32, 1, ("ffn", "heads"), tmp_path) == ({"ffn": 8}, {"ffn"})


def tuned(multiple: int = 8) -> Tuned:
    return Tuned("onnxruntime", "1", "fp32", 1, {"units": Chosen(multiple, True, {}), "width": Chosen(1, False, {})})


def test_what_was_tuned_is_of_one_precision_version_and_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tuned(), file_of(ONNXRUNTIME, FP32, 1, tmp_path))
    assert preferred(ONNXRUNTIME, FP32, 1, ("ffn", "width"), tmp_path) == ({"ffn": 8}, {"ffn"})
    assert preferred(ONNXRUNTIME, INT8, 1, ("ffn",), tmp_path) == ({}, set())
    assert preferred(ONNXRUNTIME, FP32, 2, ("ffn",), tmp_path) == ({}, set())
    monkeypatch.setattr("tprune.costs.multiples.store.version_of", lambda name: "another")
    assert preferred(ONNXRUNTIME, FP32, 1, ("ffn",), tmp_path) == ({}, set())


def test_the_runtimes_own_multiple_stays_where_nothing_was_tuned(tmp_path: Path) -> None:
    own: Any = SimpleNamespace(name="own", package="numpy", multiple=lambda precision: 4, toolchain=lambda: {})
    assert preferred(own, FP32, 1, ("ffn", "heads", "width"), tmp_path) == ({"ffn": 4, "width": 4}, set())
    keep(tuned(16), file_of(own, FP32, 1, tmp_path))
    assert preferred(own, FP32, 1, ("ffn", "width"), tmp_path) == ({"ffn": 16, "width": 4}, {"ffn"})


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = file_of(ONNXRUNTIME, FP32, 1, tmp_path)
    keep(tuned(), file)
    file.write_text(json.dumps({"runtime": 3}))
    with pytest.raises(InputError, match=r"damaged .*tune again"):
        kept(ONNXRUNTIME, FP32, 1, tmp_path)


def recipe_of(*kinds: str, **multiple: int) -> Recipe:
    given = {"prune.kinds": list(kinds), "prune.multiple": multiple}
    return changed(read_recipe(built_in("translation")), "test", given, {"macs": 0.5}, needed=True)


def test_a_recipe_takes_what_was_tuned_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep(tuned(), file_of(ONNXRUNTIME, FP32, 1))
    said: list[str] = []
    recipe, how = recipe_of("ffn", "heads"), TimingConfig(threads=1)
    assert with_multiples(recipe, liked(recipe, how, said.append)).prune.multiple == {"ffn": 8}
    assert "multiples that onnxruntime likes: ffn of 8 (tuned on this machine)" in said[0]
    own = recipe_of("ffn", ffn=2)
    assert not liked(own, how, said.append) and len(said) == 1  # a wish
    assert liked(own, how, said.append, tunable=True) == {"ffn": 8}  # the built-in recipe's


def test_a_runtimes_own_multiple_replaces_no_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(type(ONNXRUNTIME), "multiple", lambda self, precision: 4)
    said: list[str] = []
    assert not liked(recipe_of("ffn", ffn=16), TimingConfig(threads=1), said.append, tunable=True) and not said
    assert liked(recipe_of("ffn"), TimingConfig(threads=1), said.append) == {"ffn": 4} and "its own" in said[0]


@pytest.mark.parametrize("tunable", [False, True])
def test_a_run_goes_on_with_the_multiples_that_it_began_with(
    tunable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    recipe, progress = recipe_of("ffn", **({"ffn": 2} if tunable else {})), SimpleNamespace(note=lambda text: None)
    run = Run(tmp_path / "run", recipe, None, None, "", progress, tunable=tunable)  # type: ignore[arg-type]
    keep(tuned(8), file_of(ONNXRUNTIME, FP32, recipe.bench.threads))
    assert with_liked_multiples(run).recipe.prune.multiple == {"ffn": 8} == with_liked_multiples(run).tuned
    run.out.mkdir()
    (run.out / "run.json").write_text(json.dumps({"tuned": {"ffn": 32}}))
    assert with_liked_multiples(run).recipe.prune.multiple == {"ffn": 32}
    (run.out / "run.json").write_text("{}")  # begun before anything was tuned
    assert with_liked_multiples(run).recipe == recipe


def test_what_runs_elsewhere_or_takes_whole_models_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tprune.costs.multiples.tune.version_of", lambda name: "1")
    with pytest.raises(InputError, match="coreml runs on iOS"):
        tune(COREML.name, FP32)
    with pytest.raises(InputError, match="ctranslate2 takes whole models"):
        tune("ctranslate2", FP32)
