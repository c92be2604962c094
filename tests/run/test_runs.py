"""A name means the same everywhere: a run stands for its pruned model, with `dense` for the dense one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tprune.recipe.schema import Analyze, Data, Prune, Recipe, Recover, Train
from tprune.run.lookup import check_finished, exported_at, folder_at, is_run, model_at, runnable_at
from tprune.support.errors import InputError

Resolver = Callable[..., object]


def model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def export(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "generation.json").write_text("{}")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run, as far as names go."""
    for side in ("dense", "pruned"):
        model(tmp_path / "run" / side)
        export(tmp_path / "run" / "onnx" / side)
    (tmp_path / "run" / "run.json").write_text("{}")
    return tmp_path / "run"


def test_a_run_is_its_pruned_model_and_with_dense_the_other(run: Path) -> None:
    for side, dense in (("pruned", False), ("dense", True)):
        assert model_at(run, dense) == folder_at(run, dense) == str(run / side)
        assert exported_at(run, dense) == run / "onnx" / side
        assert runnable_at(run, dense) == str(run / "onnx" / side)
    assert is_run(run) and not is_run(run / "dense")


def test_a_run_has_exports_in_several_precisions(run: Path) -> None:
    for side, dense in (("pruned", False), ("dense", True)):
        folder = export(run / "onnx" / f"{side}-int8")
        assert exported_at(run, dense, "int8") == folder and runnable_at(run, dense, "int8") == str(folder)
        assert exported_at(run, dense, "fp32") == exported_at(run, dense)
    with pytest.raises(InputError, match="the run has not exported its pruned model in int4-weights; `tprune export"):
        exported_at(run, precision="int4-weights")
    for at in (exported_at, runnable_at):
        with pytest.raises(InputError, match="which has a precision already; leave out --precision"):
            at(run / "onnx" / "dense", precision="int8")
    assert runnable_at(run / "dense", precision="int8") == str(run / "dense")


def test_what_is_no_run_is_itself(run: Path, tmp_path: Path) -> None:
    checkpoint, folder = run / "cut", export(tmp_path / "small")
    model(checkpoint)
    assert model_at(checkpoint) == runnable_at(checkpoint) == str(checkpoint)
    assert exported_at(folder) == folder and runnable_at(folder) == str(folder)
    assert model_at("owner/name") == runnable_at("owner/name") == "owner/name"
    (tmp_path / "words").mkdir()
    assert folder_at(tmp_path / "words") == str(tmp_path / "words")
    named = model(tmp_path / "odd")
    (named / "run.json").write_text("{}")  # any program may call a file so
    assert model_at(named) == str(named)


@pytest.mark.parametrize("resolve", [model_at, folder_at, exported_at, runnable_at])
def test_dense_is_asked_of_runs_alone(resolve: Resolver, run: Path) -> None:
    for name in (run / "dense", "owner/name"):
        with pytest.raises(InputError, match="only a run has a dense model beside its pruned one"):
            resolve(name, True)
        if resolve is not exported_at:
            resolve(name)


def test_what_holds_no_model_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such directory"):
        model_at(tmp_path / "nothing")
    with pytest.raises(InputError, match="exported already; expected the model it was made from"):
        model_at(run / "onnx" / "dense")
    with pytest.raises(
        InputError,
        match=r"it has no config.json.*no run.json.*it holds models, name one of them: .*run/dense, .*run/pruned",
    ):
        (run / "run.json").unlink()
        model_at(run)
    with pytest.raises(InputError, match=r"not exported; `tprune export .*dense --out FOLDER`"):
        exported_at(run / "dense")


def unfinished(out: Path, *done: str) -> Path:
    recipe = Recipe(
        data=Data(),
        train=Train(steps=0),
        prune=Prune(steps=0, macs=0.5),
        recover=Recover(steps=2),
        analyze=Analyze(steps=0),
    )
    (out / "stages").mkdir(parents=True)
    for stage in done:
        (out / "stages" / f"{stage}.json").write_text("{}")
    (out / "run.json").write_text(
        json.dumps({"recipe": recipe.model_dump(mode="json"), "corpus": {}, "model": None, "plan": None})
    )
    return out


def test_an_unfinished_run_says_what_is_there_and_what_is_missing(tmp_path: Path) -> None:
    run = unfinished(tmp_path / "run", "train", "prune")
    model(run / "dense")
    state = "its last finished stage is prune, missing are shrink, recover, export, evaluate, bench"
    with pytest.raises(
        InputError,
        match=f"this run has no pruned model yet; {state}; give its command again to finish it, or name one of its "
        "models .*run/dense",
    ):
        model_at(run)
    assert model_at(run, dense=True) == str(run / "dense")
    with pytest.raises(
        InputError, match=f"this run has exported no dense model yet; {state}.*tprune export .*run --dense --out FOLDER"
    ):
        exported_at(run, dense=True)
    assert runnable_at(run, dense=True) == str(run / "dense")  # what is not exported yet can still be
    with pytest.raises(InputError, match=f"no results yet; {state}"):
        check_finished(run)
    with pytest.raises(InputError, match="no stage of it is finished, missing are train, prune, "):
        model_at(unfinished(tmp_path / "new"))
    (run / "results.json").write_text("{}")
    check_finished(run)
    with pytest.raises(InputError, match="no run; expected a directory"):
        check_finished(tmp_path)
