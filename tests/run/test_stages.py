"""One table says what the stages of a run are; all that asks about stages asks it."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import typer

from small_pairs import PAIRS
from tprune.cli.options import checks
from tprune.data.parallel import Corpus
from tprune.recipe.changes import BUILT_IN
from tprune.recipe.reader import read_recipe
from tprune.recipe.schema import Analyze, Data, Prune, Recipe, Recover, Train
from tprune.run import folder as run_folder
from tprune.run import stage as table
from tprune.run.estimates import planned as estimated
from tprune.run.folder import Run
from tprune.run.kept import KEPT
from tprune.run.outputs import manifest_error, quarantine, write_manifest
from tprune.run.sequence import STEPS
from tprune.run.stage import check_until, dependents, names, planned, stage_named
from tprune.run.stages import DONE_BY
from tprune.support.errors import InputError
from tprune.support.files import write_json
from tprune.support.reporting import Progress

NONE = {"data": Data(), "train": Train(steps=0)}


def recipes() -> list[Recipe]:
    prunes = [
        Prune(steps=0, macs=0.5),
        Prune(steps=2, speedup=2, sequence_distillation=0.5),
        Prune(steps=0, macs=0.5, allocation="loss", output_vocabulary=9),
    ]
    recovers = [Recover(steps=3, distill=0, sequence_distillation=0.5), Recover(steps=3, distill=0)]
    analyses = [Analyze(steps=0), Analyze(steps=5)]
    return [Recipe(**NONE, prune=p, recover=r, analyze=a) for p, r, a in itertools.product(prunes, recovers, analyses)]


def run_in(out: Path, **given: Any) -> Run:
    return Run(out, recipes()[0], Corpus(PAIRS, PAIRS, {"test": PAIRS}), None, "tprune run", Progress({}), **given)


def test_the_planned_stages_are_those_of_a_run() -> None:
    found = set()
    for recipe, trims in itertools.product(recipes(), (True, False)):
        stages = planned(recipe, trims)
        assert list(stages) == [name for name in names() if name in stages] == list(estimated(recipe, trims))
        assert planned(recipe, trims, given=True) == tuple(name for name in stages if name != "profile")
        found |= set(stages)
    assert found == set(names())


def test_a_run_stops_after_a_stage_that_it_has() -> None:
    recipe = recipes()[2]
    check_until("shrink", recipe, trims=False)
    with pytest.raises(InputError, match="--until trim: this run has no such stage; its stages are train, prune, "):
        check_until("trim", recipe, trims=False)
    check_until("trim", recipe, trims=True)


def test_every_stage_is_done_by_something_and_by_one_thing_only() -> None:
    assert [*STEPS] == [*KEPT] == [name for name in names() if name not in DONE_BY]
    assert [*DONE_BY] == [name for name in names() if name not in STEPS]
    with pytest.raises(InputError, match="no stage 'lunch'; expected one of train, trim, "):
        stage_named("lunch")


def test_what_stages_leave_is_told_apart() -> None:
    claimed = [Path(name) for stage in table.STAGES for name in stage.outputs]
    assert not [(a, b) for a, b in itertools.permutations(claimed, 2) if a == b or a in b.parents]
    assert not {path.parts[0] for path in claimed} & set(run_folder.OWN)
    assert table.models() == ("dense", "trimmed", "regularised", "cut", "pruned")


@pytest.mark.parametrize("copied", [False, True])
def test_every_part_of_a_description_is_of_some_stage(copied: bool) -> None:
    parts = {"model": 0, "plan": 0, "corpus": dict.fromkeys(("train", "valid", "test", "vocabulary"), 0)}
    described = {**parts, "training": {"threads": 1}, "recipe": read_recipe(BUILT_IN).model_dump(mode="json")}
    keys = run_folder._flat(described)
    assert [key for key in keys if not dependents(key, copied)] == [
        "recipe.train_precision"
    ]  # see `training.precision`


@pytest.mark.parametrize(
    ("key", "stages"),
    [
        ("recipe.seed", ("train",)),
        ("recipe.prune.kinds", ("profile", "analyze", "prune")),
        ("recipe.prune.strength", ("prune",)),
        ("recipe.prune.speedup", ("profile", "prune")),
        ("recipe.prune.expected_recovery.ffn", ("profile", "prune")),
        ("recipe.prune.output_vocabulary", ("resegment", "profile", "prune", "shrink")),
        ("recipe.bench.rounds", ("bench",)),
        ("recipe.bench.threads", ("profile", "bench")),
        ("corpus.test", ("evaluate",)),
        ("corpus.train", ("trim", "resegment", "profile", "analyze", "distill-data", "prune")),
        ("recipe.data.long_share", ("resegment", "profile", "analyze", "distill-data", "prune")),
        ("recipe.recover.steps", ("recover",)),
    ],
)
def test_what_depends_on_a_part(key: str, stages: tuple[str, ...]) -> None:
    assert dependents(key, copied=True) == stages
    read = ("train", *stages) if key in table.DATA else stages  # what is copied reads no sentence
    assert dependents(key, copied=False) == read


def test_a_stage_is_added_in_the_table_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = table.Stage(
        "polish",
        needed=lambda asked: asked.trims,
        leaves=("shine.json",),
        model="polished",
        reads=("recipe.num_beams",),
        seconds=lambda recipe, load: 9.0,
        cheap=True,
        message=lambda asked: f"{asked.tests}, again",
    )
    monkeypatch.setattr(table, "STAGES", (*table.STAGES, last))
    recipe = recipes()[0]
    assert planned(recipe, trims=True)[-1] == "polish" and "polish" not in planned(recipe)
    check_until("polish", recipe, trims=True)
    with pytest.raises(InputError, match="--until polish: this run has no such stage"):
        check_until("polish", recipe)
    assert checks.stage_named("polish") == "polish"
    with pytest.raises(typer.BadParameter, match=", bench, polish"):
        checks.stage_named("lunch")
    assert dependents("recipe.num_beams", copied=False) == ("evaluate", "polish")
    assert table.models()[-1] == "polished" and "polish" in table.cheap(copied=False)
    run = run_in(tmp_path, vocabulary=PAIRS)
    run.progress.plan["polish"] = 1.0

    def polish() -> None:
        (tmp_path / "polished").mkdir()
        write_json(tmp_path / "shine.json", {})

    run.stage("polish", polish)
    assert run.progress.doing == "polish: 32 sentences, again" and run.has("polish")
    write_manifest(tmp_path, "polish")
    (tmp_path / "shine.json").write_text("dull")
    assert manifest_error(tmp_path, "polish") == "shine.json has changed since it was written"
    assert quarantine(tmp_path, "polish") == ["polished.damaged-1", "shine.json.damaged-1"]
    for left in tmp_path.glob("*.damaged-1"):
        left.rmdir() if left.is_dir() else left.unlink()
    polish()
    run_folder.clear(tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("key", "value"), [("kinds", ["ffn"]), ("output_vocabulary", 9)])
def test_what_is_cut_stays_once_the_pruning_has_begun(tmp_path: Path, key: str, value: Any) -> None:
    """Nothing is measured for a uniform budget, so the pruning is the first stage that depends on these."""
    run = run_in(tmp_path)
    run_folder.check_identity(run)
    run.work("prune").mkdir(parents=True)
    prune = run.recipe.prune.model_copy(update={key: value})
    other = Run(**{**vars(run), "recipe": run.recipe.model_copy(update={"prune": prune})})
    with pytest.raises(InputError, match=rf"holds a run with another recipe.prune.{key} "):
        run_folder.check_identity(other)
