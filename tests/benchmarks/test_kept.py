"""What a benchmark keeps is enough to compute its intervals again."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.shared import commands, kept, seeds
from benchmarks.shared.kept import Kept
from small_models import small_model
from tprune.core.plan import make_plan
from tprune.families.registry import couplings
from tprune.support.errors import InputError
from tprune.support.files import write_json
from tprune.tasks.metrics.translation import paired_bootstrap, paired_over_runs

REFERENCES = [f"the cat number {i} sat on the mat with {i % 7} dogs" for i in range(40)]
DENSE = [line.replace("mat", "rug") if i % 3 else line for i, line in enumerate(REFERENCES)]
PRUNED = [line.replace("sat", "lay") if i % 4 else line for i, line in enumerate(REFERENCES)]


class Pairs:
    """The test sentences."""

    target = REFERENCES

    def __len__(self) -> int:
        return len(REFERENCES)


def test_an_interval_is_computed_again_from_what_is_stored(tmp_path: Path) -> None:
    then = paired_bootstrap(DENSE, PRUNED, REFERENCES)
    store = Kept.beside(tmp_path / "numbers.json")
    store.said("dense", DENSE, REFERENCES)
    store.said("pruned", PRUNED, REFERENCES)
    assert sorted(file.name for file in (tmp_path / "numbers.kept").iterdir()) == [
        "dense.said.json.gz",
        "pruned.said.json.gz",
        "references.json",
    ]
    assert Kept(store.folder).difference(["dense"], ["pruned"], REFERENCES) == then
    assert then.low < then.delta < then.high
    both = paired_over_runs([DENSE, PRUNED], [PRUNED, DENSE], REFERENCES)
    assert store.difference(["dense", "pruned"], ["pruned", "dense"], REFERENCES) == both


def test_the_same_content_gives_the_same_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        Kept(tmp_path / folder).said("x: 1, y", DENSE, REFERENCES)
    one, other = (tmp_path / folder / "x-1-y.said.json.gz" for folder in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


def test_other_references_are_refused(tmp_path: Path) -> None:
    store = Kept(tmp_path)
    store.said("dense", DENSE, REFERENCES)
    with pytest.raises(InputError, match="do not belong to these 40 references"):
        store.said("pruned", PRUNED, DENSE)
    with pytest.raises(InputError, match="do not belong to these 40 references"):
        store.difference(["dense"], ["dense"], PRUNED)
    with pytest.raises(InputError, match=r"pruned\.said\.json\.gz: not stored"):
        store.difference(["dense"], ["pruned"], REFERENCES)
    with pytest.raises(InputError, match="39 translations for 40 references"):
        store.said("pruned", PRUNED[1:], REFERENCES)


def test_a_plan_comes_back_as_it_was(tmp_path: Path) -> None:
    model = small_model("marian")
    plan = make_plan(model, "marian", couplings(model, ["ffn"]))
    plan = plan.with_kept({e.coupling.name: torch.arange(e.groups[0]) < 2 for e in plan.entries}, {}, {})
    Kept(tmp_path).plan("ours 2x", plan)
    assert Kept(tmp_path).plan_of("ours 2x").to_json() == plan.to_json()


def test_the_peers_keep_every_model(tmp_path: Path) -> None:
    """Translations of all models, and plans of those that have one."""
    from benchmarks.peers.table import keep

    model = small_model("marian")
    plan = make_plan(model, "marian", couplings(model, ["ffn"]))
    for name, lines in (("dense", DENSE), ("ours-2x-s0", PRUNED)):
        write_json(tmp_path / "out" / "said" / f"{name}.json", lines)
    (tmp_path / "out" / "ours-2x-s0").mkdir()
    (tmp_path / "out" / "ours-2x-s0" / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    corpus = SimpleNamespace(pooled_test=Pairs)
    queue: Any = SimpleNamespace(out=tmp_path / "out", corpus=corpus)
    store = Kept.beside(tmp_path / "peers.json")
    keep(queue, [{"name": "dense"}, {"name": "ours-2x-s0"}, {"name": "failed-2x-s0"}], store)
    assert store.difference(["dense"], ["ours-2x-s0"], REFERENCES) == paired_bootstrap(DENSE, PRUNED, REFERENCES)
    assert store.plan_of("ours-2x-s0").to_json() == plan.to_json()
    assert len(list(store.folder.iterdir())) == 4


def test_a_recipe_keeps_both_sides(tmp_path: Path) -> None:
    from benchmarks.recipes.run import keep

    model = small_model("marian")
    plan = make_plan(model, "marian", couplings(model, ["ffn"]))
    write_json(
        tmp_path / "translations.json",
        {"source": REFERENCES, "reference": REFERENCES, "dense": DENSE, "pruned": PRUNED},
    )
    (tmp_path / "pruned").mkdir()
    (tmp_path / "pruned" / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    store = Kept(tmp_path / "results.kept" / "demo")
    keep(tmp_path, store)
    assert store.difference(["dense"], ["pruned"], REFERENCES) == paired_bootstrap(DENSE, PRUNED, REFERENCES)
    assert store.plan_of("pruned").to_json() == plan.to_json()


def test_intervals_over_seeds_are_students() -> None:
    mine = [{"seed": seed, "bleu": bleu} for seed, bleu in enumerate((30.1047, 29.8361, 30.2593))]
    theirs = [{"seed": seed, "bleu": bleu} for seed, bleu in enumerate((29.4475, 29.5221, 29.9054))]
    found = seeds.over_seeds(mine, theirs)
    assert found is not None
    assert [round(found[key], 2) for key in ("delta", "low", "high")] == [0.44, -0.02, 0.91]
    assert seeds.over_seeds(mine[:2], theirs) is None
    for module in (seeds, kept, commands):
        assert doctest.testmod(module).failed == 0


def time_of(ratios: list[float]) -> dict[str, Any]:
    """What the units of timing leave for one model, of which a table reads this."""
    by_runtime = {"onnxruntime": dict.fromkeys(("encoder", "decoder_step", "sentence"), ratios[0])}
    sides = {"dense": by_runtime, "pruned": by_runtime}
    return {
        "latency_ms": sides,
        "speedup": by_runtime,
        "noise": {"noisy": False},
        "protocol": "in turns",
        "speedup_interval": {"onnxruntime": {"sentence": [min(ratios), max(ratios)]}},
        "ratios": {"onnxruntime": {"sentence": ratios}},
        "tokens_per_sentence": {"pruned": 7.0},
        "peak_memory": {"pruned": 1},
    }


def test_the_table_has_what_the_training_was_asked_for_and_rounds_of_which_speeds_follow(tmp_path: Path) -> None:
    from benchmarks.peers.run import Spec
    from benchmarks.peers.table import table
    from tprune.recipe.schema import Bench

    said = {"dense": DENSE, "dense-more-1x-s0": DENSE, "fewer-tokens-1x-s0": DENSE, "ours-2.7x-s0": PRUNED}
    rounds = dict(zip(said, ([1.0] * 6, [1.0] * 6, [1.25] * 6, [2.5, 3.0] * 3), strict=True))
    for name, lines in said.items():
        write_json(tmp_path / "said" / f"{name}.json", lines)
        write_json(tmp_path / "done" / f"deploy-{name}.json", {"bleu": 30.0, "parameters": 5, "macs": 7})
        write_json(tmp_path / "done" / f"train-{name}.json", {"recovery_steps": 9, "aim": 3.2, "asked": 3.0})
    write_json(tmp_path / "done" / "time.json", {name: time_of(each) for name, each in rounds.items()})
    corpus = SimpleNamespace(pooled_test=Pairs)
    queue: Any = SimpleNamespace(out=tmp_path, corpus=corpus, recipe=SimpleNamespace(num_beams=4, bench=Bench()))
    specs = [
        Spec("dense-more", 1.0, 0),
        Spec("fewer-tokens", 1.0, 0),
        Spec("ours", 2.7, 0),
    ]  # a folder that was renamed
    found = table(queue, specs, "run")
    row = found["rows"][-1]
    assert (row["name"], row["named"], row["asked"], row["aim"]) == ("ours-2.7x-s0", 2.7, 3.0, 3.2)
    assert row["ratios"] == rounds["ours-2.7x-s0"] and found["bench"]["protocol"] == "in turns"
    assert row["like_for_like"] == {"sentence": 2.2, "low": 2.0, "high": 2.4}
    assert row["against_dense_more"] == paired_bootstrap(DENSE, PRUNED, REFERENCES).to_dict()
    group = found["together"][-1]
    assert (group["named"], group["asked"], group["aim"]) == (2.7, 3.0, 3.2)
    assert group["like_for_like"] == row["like_for_like"]
