"""A run means the same to every verb and to `tprune.load`: its pruned model, with --dense the other."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import tprune as package
from tprune.budget.size import Budget, select_to
from tprune.core.plan import make_plan
from tprune.core.selection import Uniform
from tprune.families.registry import couplings, family_of
from tprune.realise.checkpoint import load, save
from tprune.realise.shrink import shrink

Call = Callable[..., tuple[int, str, str]]
DATA = ("--src", "s", "--tgt", "t", "--valid-src", "s", "--valid-tgt", "t", "--set", "prune.search=0")
PRUNED = "is a run: its pruned model, "
DENSE = "is a run: its dense model, "


def first(notes: str) -> str:
    """What a verb says first; bars of loading weights, off on the command line, are not its words."""
    return next(line for line in notes.splitlines() if line.startswith("tprune: "))


@pytest.fixture
def run(model: Path) -> Path:
    """A run's folder with a dense model and a smaller one that was cut from it."""
    dense, out = load(model), model.parent / "run"
    plan = make_plan(dense, family_of(dense).name, couplings(dense, ["ffn", "heads"]))
    small = shrink(dense, select_to(dense, plan, Budget("macs", 0.8), Uniform()))
    tokenizer = package.load_tokenizer(model)
    for side, of in (("dense", dense), ("pruned", small)):
        save(of, out / side, tokenizer)
    (out / "run.json").write_text("{}")
    return out


def test_load_takes_either_side(run: Path) -> None:
    for of, dense in (("pruned", False), ("dense", True)):
        expected, found = load(run / of).state_dict(), package.load(run, dense=dense).state_dict()
        assert expected.keys() == found.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
        assert package.load_tokenizer(run, dense=dense).get_vocab() == package.load_tokenizer(run / of).get_vocab()


def test_inspect_says_which_and_shows_it(tprune: Call, run: Path) -> None:
    sizes = {}
    for flag, says, side in ((), PRUNED, "pruned"), (("--dense",), DENSE, "dense"):
        code, out, notes = tprune("inspect", run, *flag, "--json")
        assert code == 0 and first(notes).startswith(f"tprune: {run} {says}{run / side}"), notes
        sizes[side] = json.loads(out)["size"]["parameters"]
        assert sizes[side] == json.loads(tprune("inspect", run / side, "--json")[1])["size"]["parameters"]
    assert sizes["pruned"] < sizes["dense"]


@pytest.mark.slow
def test_prune_takes_the_pruned_model_further(tprune: Call, run: Path) -> None:
    for flag, says, side in ((), PRUNED, "pruned"), (("--dense",), DENSE, "dense"):
        code, out, notes = tprune(
            "prune", run, *flag, "--macs", 0.9, "--dry-run", "--json", "--out", f"of-{side}", *DATA
        )
        assert code == 0 and first(notes).startswith(f"tprune: {run} {says}{run / side}"), notes
        forecast = json.loads(out)["forecast"]
        assert forecast["dense"]["macs"] == json.loads(tprune("inspect", run / side, "--json")[1])["size"]["macs"]
        assert forecast["reached"]["macs"] <= 0.9 * forecast["dense"]["macs"]


@pytest.mark.parametrize("verb", ["inspect", "export", "translate", "evaluate", "analyze", "prune"])
def test_dense_of_what_is_no_run_is_refused(tprune: Call, run: Path, verb: str) -> None:
    options = {
        "export": ("--out", "o"),
        "evaluate": ("--src", "s", "--tgt", "t"),
        "prune": ("--macs", 0.5, "--out", "o", *DATA),
    }
    code, out, notes = tprune(verb, run / "pruned", "--dense", *options.get(verb, ()))
    assert code == 1 and not out and "only a run has a dense model beside its pruned one" in notes


@pytest.mark.slow
def test_a_run_is_analysed_exported_scored_timed_and_translates(
    tprune: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, notes = tprune("analyze", run, *DATA[:-2], "--steps", 2, "--json")
    assert (
        code == 0 and f"{PRUNED}{run / 'pruned'}" in notes and json.loads(out)["made"]["model"] == str(run / "pruned")
    )
    scored = json.loads(tprune("evaluate", run, "--src", "s", "--tgt", "t", "--json")[1])
    assert list(scored["scores"]) == [str(run / "dense"), str(run / "pruned")]  # exported for this, neither is yet
    for verb in (("translate", run), ("bench", run, "--sentences", "s")):
        code, _, notes = tprune(*verb)
        assert code == 1 and "model yet" in notes and f"tprune export {run}" in notes
    for flag, side in ((), "pruned"), (("--dense",), "dense"):
        code, _, notes = tprune("export", run, *flag, "--out", run / "onnx" / side, "--sentences", "s")
        assert code == 0 and f"{run / side}" in first(notes)
    again = json.loads(tprune("evaluate", run, "--src", "s", "--tgt", "t", "--json")[1])
    assert list(again["scores"]) == [str(run / "onnx" / side) for side in ("dense", "pruned")]
    assert [s["bleu"] for s in again["scores"].values()] == [s["bleu"] for s in scored["scores"].values()]
    alone = json.loads(tprune("evaluate", run, "--dense", "--src", "s", "--tgt", "t", "--json")[1])
    assert list(alone["scores"]) == [str(run / "onnx" / "dense")] and alone["paired"] is None
    for flag, side in ((), "pruned"), (("--dense",), "dense"):
        said = []
        for name in ((run, *flag), (run / "onnx" / side,)):
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO((run.parent / "s").read_bytes())))
            code, out, _ = tprune("translate", *name)
            assert code == 0
            said.append(out)
        assert said[0] == said[1]
    small = ("--sentences", "s", "--rounds", 4, "--json")
    timed = json.loads(tprune("bench", run, *small)[1])
    assert timed["parameters"]["pruned"] < timed["parameters"]["dense"]
    same = json.loads(tprune("bench", run, run, *small)[1])
    assert same["parameters"]["dense"] == same["parameters"]["pruned"] == timed["parameters"]["pruned"]
    other = json.loads(tprune("bench", run, run, "--dense", *small)[1])
    assert other["parameters"]["dense"] == other["parameters"]["pruned"] == timed["parameters"]["dense"]


def test_bench_of_one_name_needs_a_run(tprune: Call, run: Path) -> None:
    code, _, notes = tprune("bench", "a", "--sentences", "s")
    assert code == 2 and "a is no run, of which both sides would be timed; name a second model" in " ".join(
        notes.split()
    )
    code, _, notes = tprune("bench", run, "--dense", "--sentences", "s")
    assert code == 2 and "--dense takes one side of a run; name a second model" in " ".join(notes.split())
