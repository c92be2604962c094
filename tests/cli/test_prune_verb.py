"""`tprune prune`: what it forecasts before it trains, what it refuses, and a whole run in one shot."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tprune.core.plan import Plan, make_plan
from tprune.core.plan_files import write
from tprune.data.parallel import read_pair
from tprune.families.registry import couplings
from tprune.realise.checkpoint import load, load_tokenizer, save

Call = Callable[..., tuple[int, str, str]]

DATA = ("--src", "s", "--tgt", "t", "--valid-src", "s", "--valid-tgt", "t", "--set", "prune.search=0")


def test_a_dry_run_promises_and_trains_nothing(tprune: Call, model: Path) -> None:
    code, said, notes = tprune("prune", model, "--macs", 0.8, "--dry-run", "--json", "--out", "run", *DATA)
    assert code == 0, notes
    forecast = json.loads(said)["forecast"]
    assert forecast["reached"]["macs"] <= 0.8 * forecast["dense"]["macs"]  # untrained, it has nothing to lose
    assert forecast["pruned"]["macs"] == forecast["reached"]["macs"] and forecast["times"] is None
    assert "model.decoder.layers.0.ffn" in notes and "MB of disk" in notes
    assert not (model.parent / "run" / "cut").exists()
    assert load(model).state_dict().keys() == load(model.parent / "run" / "dense").state_dict().keys()


@pytest.mark.slow
def test_the_divergence_from_the_dense_model_may_be_the_objective(tprune: Call, model: Path) -> None:
    asked = ("prune", model, "--macs", 0.8, "--dry-run", "--out", "run", *DATA, "--objective", "divergence")
    code, _, notes = tprune(*asked)
    assert code == 0 and "divergence of each coupling at each size" in notes, notes
    assert json.loads((model.parent / "run" / "run.json").read_text())["recipe"]["prune"]["objective"] == "divergence"
    code, _, notes = tprune(*asked, "--set", "prune.allocation=uniform", "--force")
    assert code == 1 and "prune.objective divergence: nothing is measured with prune.allocation uniform" in notes


def configured(model: Path, **settings: Any) -> None:
    file = model / "generation_config.json"
    found = json.loads(file.read_text()) | settings
    file.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


@pytest.mark.parametrize("dry", [("--dry-run",), ("--one-shot",)])
def test_what_cannot_be_exported_is_said_before_anything_is_measured(
    tprune: Call, model: Path, dry: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(model, no_repeat_ngram_size=3, repetition_penalty=1.2)  # these two are exported
    options = ("prune", model, "--macs", 0.8, "--out", "run", *DATA)
    code, _, notes = tprune(*options, "--dry-run")
    assert code == 0, notes
    configured(model, encoder_no_repeat_ngram_size=3)
    for out in ("run", "new"):  # a run that has begun, and one that has not
        monkeypatch.setattr("tprune.run.sequence.gather_evidence", None)  # nothing of the kind is begun
        code, _, notes = tprune(*options[: -len(DATA) - 1], out, *DATA, *dry, *(("--force",) if out == "run" else ()))
        assert code == 1 and "generation_config.encoder_no_repeat_ngram_size is 3; the export can only do 0" in notes
        assert not (model.parent / out / "dense").exists()


@pytest.mark.slow
def test_a_limit_that_nobody_chose_is_said_once(tprune: Call, model: Path) -> None:
    configured(model, max_length=None)
    code, _, notes = tprune("prune", model, "--macs", 0.8, "--dry-run", "--out", "run", *DATA)
    assert code == 0 and notes.count("warning: MarianMTModel: no max_length in") == 1 and "after 20 tokens" in notes
    configured(model, max_length=32)
    code, _, notes = tprune("prune", model, "--macs", 0.8, "--dry-run", "--out", "other", *DATA)
    assert code == 0 and "max_length" not in notes


@pytest.mark.slow
def test_sublayers_may_only_be_emptied_where_nothing_is_trained(tprune: Call, model: Path) -> None:
    floors = {}
    for name, options in (("trained", ()), ("one-shot", ("--one-shot",))):
        code, _, notes = tprune("prune", model, "--macs", 0.8, "--dry-run", *options, "--out", name, *DATA)
        assert code == 0, notes
        floors[name] = json.loads((model.parent / name / "run.json").read_text())["recipe"]["prune"]["floor"]
    assert floors == {"trained": 0.03, "one-shot": 0.0}


@pytest.mark.slow
def test_the_promise_keeps_the_warning_of_text_in_another_language(tprune: Call, model: Path) -> None:
    (model.parent / "f").write_text("\n".join("мужчина идёт по улице" for _ in range(36)) + "\n", encoding="utf-8")
    foreign = ("--src", "f", "--tgt", "f", "--valid-src", "f", "--valid-tgt", "f", "--set", "prune.search=0")
    code, said, notes = tprune("prune", model, "--macs", 0.8, "--dry-run", "--json", "--out", "run", *foreign)
    assert code == 0, notes
    warned = json.loads(said)["forecast"]["warnings"]
    assert warned and all(f"warning: {line}" in notes.splitlines() for line in warned)
    assert json.loads((model.parent / "run" / "forecast.json").read_text())["warnings"] == warned


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("--macs", 0.001),
            "On the command line, more can be cut with --kind ffn --kind heads --kind qk --kind vo --kind sublayer "
            "--kind width; --set prune.floor=0; --trim-vocab train",
        ),
        (("--macs", 0.001, "--stock"), "more can be cut with no --stock, which allows ffn alone; --set prune.floor=0"),
        (("--params", 1e9), "has 1,000,000,000 params"),
        (("--plan", "s"), "s: no JSON"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(tprune: Call, model: Path, arguments: tuple[Any, ...], says: str) -> None:
    if "1e9" in str(arguments) or 1e9 in arguments:
        says = "asked for 1,000,000,000 params"
    code, said, notes = tprune("prune", model, *arguments, "--out", "run", *DATA)
    assert code == 1 and not said
    assert says in notes.splitlines()[-1]
    assert not (model.parent / "run" / "cut").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give one of --macs, --params, --bytes, --memory-mb, --speedup, --latency-ms, or a --plan"),
        (("--macs", 0.5, "--speedup", 2), "give one target, got --macs 0.5 and --speedup 2"),
        (("--speedup", 0.5), "'--speedup': got 0.5; expected how many times faster, above 1"),
        (("--latency-ms", 0), "'--latency-ms': got 0; expected milliseconds above 0"),
        (
            ("--macs", "nan"),
            "'--macs': got nan; expected a fraction of the dense model in (0, 1], or a number of at least 1000",
        ),
        (("--macs", 2), "'--macs': got 2;"),
        (("--macs", "half"), "'--macs'"),
        (("--macs", 0.5, "--runtime", "tflite"), "--runtime tflite: expected onnxruntime"),
        (("--macs", 0.5, "--kind", "layers"), "'layers' is not one of 'ffn', 'heads', 'qk', 'vo'"),
        (("--macs", 0.5, "--trim-vocab", "corpus"), "got 'corpus'; expected `train`, or two files"),
        (("--macs", 0.5, "--plan", "s"), "--plan says what is kept; leave out --macs 0.5"),
        (("--macs", 0.5, "--one-shot", "--steps", 3), "--one-shot trains nothing; leave out --steps 3"),
        (
            ("--macs", 0.5, "--output-vocab", 30, "--one-shot"),
            "--output-vocab 30 has to be learnt; leave out --one-shot",
        ),
        (
            ("--macs", 0.5, "--output-vocab", 30, "--steps", 0),
            "--output-vocab 30 has to be learnt; leave out --steps 0",
        ),
        (("--macs", 0.5, "--threads", 0), "'--threads'"),
        (("--macs", 0.5, "--src", "s"), "--src and --tgt belong together; got s alone"),
        (("--macs", 0.5, "--test-tgt", "s"), "--test-src and --test-tgt belong together; got s alone"),
        (
            ("--macs", 0.5, "--until", "lunch"),
            "got 'lunch'; expected one of train, trim, resegment, profile, analyze, distill-data, prune, shrink, ",
        ),
        (("--macs", 0.5, "--stock", "--kind", "heads"), "--stock cuts ffn only; leave out --kind heads"),
    ],
)
def test_wrong_options_are_named_before_anything_is_read(
    tprune: Call, tmp_path: Path, arguments: tuple[Any, ...], says: str
) -> None:
    (tmp_path / "s").write_text("")
    code, said, notes = tprune("prune", "no-model", *arguments, "--out", "run")
    assert code == 2 and not said
    assert says in " ".join(notes.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "verb", [("demo",), ("prune", "m"), ("run", "s"), ("export", "m"), ("analyze", "m"), ("report", "r")]
)
def test_results_do_not_go_to_a_place_without_a_name(tprune: Call, tmp_path: Path, verb: tuple[str, ...]) -> None:
    code, _, notes = tprune(*verb, "--out", "")
    assert code == 2 and "--out" in notes and "got nothing; expected a path" in " ".join(notes.split())
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [("prune", "", "--macs", 0.5, "--out", "run"), ("inspect", " "), ("run", "s", "--model", "", "--out", "run")],
)
def test_an_empty_name_is_no_model(tprune: Call, tmp_path: Path, arguments: tuple[Any, ...]) -> None:
    (tmp_path / "s").write_text("")
    code, _, notes = tprune(*arguments)
    assert code == 2 and "got nothing; expected a name or path" in " ".join(notes.split())
    assert not (tmp_path / "run").exists()


def test_rounds_are_even(tprune: Call) -> None:
    code, _, notes = tprune("bench", "a", "b", "--sentences", "s", "--rounds", 5)
    assert code == 2 and "got 5; expected an even number" in " ".join(notes.split())


def test_a_model_with_broken_weights_is_named(tprune: Call, model: Path) -> None:
    broken = load(model)
    broken.model.encoder.layers[0].fc1.weight.data[3, 2] = torch.nan
    save(broken, model.parent / "broken", load_tokenizer(model))
    code, _, notes = tprune("prune", "broken", "--macs", 0.8, "--dry-run", "--out", "run", *DATA)
    assert code == 1 and "broken: model.encoder.layers.0.fc1.weight holds values that are not finite" in notes


def test_missing_sentences_are_named(tprune: Call, model: Path) -> None:
    code, _, notes = tprune("prune", model, "--macs", 0.5, "--out", "run", *DATA[:4])
    assert code == 1 and "no valid sentences: give --valid-src and --valid-tgt" in notes


def test_a_plan_for_another_model_is_refused(tprune: Call, model: Path) -> None:
    code, _, notes = tprune("prune", model, "--macs", 0.8, "--out", "run", "--dry-run", *DATA)
    assert code == 0, notes
    other = Plan("marian", "0" * 16, (), {"macs": 1.0}, {"macs": 1.0})
    (model.parent / "plan.json").write_text(other.to_json())
    code, _, notes = tprune("prune", model, "--plan", "plan.json", "--out", "other", *DATA)
    assert code == 1 and "plan.json: the plan has no entries" in notes
    dense = load(model)
    plan = make_plan(dense, "marian", couplings(dense, ["ffn", "heads"]))
    every = {e.coupling.name: e.keep for e in plan.entries}
    for planned, says in (
        (replace(plan, fingerprint="0" * 16), "the plan was made for a model with fingerprint 0000"),
        (replace(plan, family="t5"), "the plan is for the family 't5', the model is of 'marian'"),
        (
            plan.with_kept({n: keep & False for n, keep in every.items()}, {}, {}),
            "the plan empties every cross attention",
        ),
    ):
        (model.parent / "plan.json").write_text(
            (planned if planned.selected else planned.with_kept(every, {}, {})).to_json()
        )
        code, _, notes = tprune("prune", model, "--plan", "plan.json", "--out", "other", *DATA)
        assert code == 1 and f"plan.json: {says}" in notes
    elsewhere = replace(plan.with_kept(every, {}, {}), family="t5")  # with its masks beside it, it is read the same
    write(elsewhere._content, model.parent / "plan.json", limit=0)
    code, _, notes = tprune("prune", model, "--plan", "plan.json", "--out", "other", *DATA)
    assert code == 1 and "plan.json: the plan is for the family 't5', the model is of 'marian'" in notes
    (model.parent / "plan.safetensors").unlink()
    code, _, notes = tprune("prune", model, "--plan", "plan.json", "--out", "other", *DATA)
    assert code == 1 and "plan.safetensors: cannot be read" in notes


@pytest.mark.slow
def test_one_shot_with_a_smaller_vocabulary_and_its_plan_again(tprune: Call, model: Path) -> None:
    """From a model with tokens that the sentences do not need, to one that runs; and once more by the plan it left."""
    folder = model.parent
    (folder / "few-s").write_text("a cat sat\na dog ran\n" * 4)
    (folder / "few-t").write_text("x y z\nx u\n" * 4)
    few = ("--src", "few-s", "--tgt", "few-t", "--valid-src", "few-s", "--valid-tgt", "few-t")
    code, said, notes = tprune(
        "prune", model, "--macs", 0.8, "--one-shot", "--trim-vocab", "train", "--json", "--out", "run", *few
    )
    assert code == 0, notes
    results = json.loads(said)
    assert results["target"]["asked"]["macs"] == pytest.approx(0.8 * results["dense"]["macs"])  # not of the trimmed one
    small = load(folder / "run" / "pruned")
    assert small.config.vocab_size < load(model).config.vocab_size
    assert results["pruned"]["macs"] < 0.8 * results["dense"]["macs"] and results["certificate"]["forward"] < 1e-5
    assert (folder / "run" / "report.html").exists()
    assert len(read_pair(folder / "few-s", folder / "few-t")) == 8

    code, said, notes = tprune(
        "prune",
        model,
        "--steps",
        2,
        "--trim-vocab",
        "few-s,few-t",
        "--plan",
        "run/pruned/plan.json",
        "--json",
        "--out",
        "again",
        *few,
    )
    assert code == 0, notes
    again = json.loads(said)
    assert again["pruned"]["macs"] == again["target"]["reached"]["macs"] == results["pruned"]["macs"]


def test_values_of_the_recipe_may_be_set_and_a_run_stopped_on_its_way(tprune: Call, model: Path) -> None:
    sets = ("--set", "prune.search=3", "--set", "prune.kinds=[ffn]", "--set", "num_beams=1")
    code, said, notes = tprune(
        "prune", model, "--macs", 0.9, "--until", "profile", "--json", "--out", "run", *DATA, *sets
    )
    assert code == 0, notes
    assert json.loads(said) == {"stopped": "profile"}
    recipe = json.loads((model.parent / "run" / "run.json").read_text())["recipe"]
    assert (recipe["prune"]["search"], recipe["prune"]["kinds"], recipe["num_beams"]) == (3, ["ffn"], 1)
    assert {path.stem for path in (model.parent / "run" / "stages").glob("*.json")} == {"train", "profile"}
    other = ("prune", model, "--macs", 0.8, "--until", "train", "--out", "run", *DATA)
    code, _, notes = tprune(*other)
    assert code == 1 and "holds a run with another recipe" in notes
    assert tprune(*other, "--force")[0] == 0
    assert {path.stem for path in (model.parent / "run" / "stages").glob("*.json")} == {"train"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--set", "prune.serach=1"), "unknown key 'prune.serach'; did you mean 'search'?"),
        (("--set", "seed.x=1"), "seed is a value, not a section"),
        (
            ("--until", "analyze"),
            "--until analyze: this run has no such stage; its stages are train, profile, distill-data, prune, ",
        ),
        (
            ("--set", "bench.lunch=1"),
            "unknown key 'bench.lunch'; expected one of threads, batch, sentences, rounds, runtime",
        ),
        (("--threads", "999"), "threads 999; expected 1"),
        (("--batch", "999"), "batch 999, but there are only "),
        (
            ("--set", "recover.distill=0.5", "--output-vocab", "30"),
            "prune.output_vocabulary: the dense model spells otherwise",
        ),
    ],
)
def test_settings_that_a_recipe_cannot_have(tprune: Call, model: Path, options: tuple[str, ...], says: str) -> None:
    code, _, notes = tprune("prune", model, "--macs", 0.9, *options, "--out", "run", *DATA)
    assert code == 1 and says in notes and not (model.parent / "run").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--set", ""), "--set got nothing: expected KEY=VALUE"),
        (("--set", "prune.search"), "--set prune.search: expected KEY=VALUE"),
        (("--set", "prune.search="), "--set prune.search=: expected KEY=VALUE"),
        (("--set", "prune.search=[1"), "--set prune.search=[1: no valid YAML"),
        (("--valid-src", ""), "got nothing; expected a path"),
    ],
)
def test_options_that_say_nothing(tprune: Call, tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    code, _, notes = tprune("prune", "absent", "--macs", 0.9, *options, "--out", "run")
    assert code == 2 and options[0] in notes and says in " ".join(notes.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_sentences_may_be_a_data_set(tprune: Call, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(model.parent / "cache"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(model.parent / "cache"))
    (model.parent / "set").mkdir()
    pairs = list(zip(*((model.parent / name).read_text().splitlines() for name in "st"), strict=True))
    for split in ("train", "validation"):
        rows = [json.dumps({"pair": {"en": source, "xx": target}}) for source, target in pairs]
        (model.parent / "set" / f"{split}.jsonl").write_text("\n".join(rows) + "\n")
    named = ("--data", "set", "--columns", "pair.en,pair.xx")
    code, out, notes = tprune("prune", model, "--macs", 0.9, "--out", "run", "--dry-run", "--json", *named)
    assert code == 0 and json.loads(out)["forecast"], notes
    code, _, notes = tprune("prune", model, "--macs", 0.9, "--out", "other", "--data", "set")
    assert code == 1 and "no column 'en'; there are 'pair'" in notes and not (model.parent / "other").exists()
    code, _, notes = tprune("prune", model, "--macs", 0.9, "--out", "other", "--src", "s", "--tgt", "t", *named)
    assert code == 2 and "name the data in one way, by files or as a data set" in notes
    code, _, notes = tprune("analyze", model, "--data", "set", "--columns", "pair.en")
    assert code == 2 and "expected the columns of sentences and translations, SOURCE,TARGET" in notes
    code, _, notes = tprune("evaluate", model, "--data", "set", "--columns", "pair.en,pair.xx")
    assert code == 1 and "no split 'test'; there are 'train', 'validation'" in notes


@pytest.mark.slow
def test_pairs_too_long_for_the_model_are_left_out_and_counted(tprune: Call, model: Path) -> None:
    sources, targets = ((model.parent / name).read_text().splitlines() for name in "st")
    (model.parent / "ls").write_text("\n".join(sources * 4 + ["a cat sat " * 20]) + "\n")
    (model.parent / "lt").write_text("\n".join(targets * 4 + ["x"]) + "\n")
    pair = ("--src", "ls", "--tgt", "lt", "--valid-src", "ls", "--valid-tgt", "lt", "--set", "prune.search=0")
    few = ("--set", "data.long_share=0.005")
    code, _, notes = tprune("prune", model, "--macs", 0.8, "--dry-run", "--out", "run", *pair, *few)
    assert code == 1 and "ls: 1 of 145 sentences (0.7%)" in notes and "--set data.long_share=0.01" in notes
    code, said, notes = tprune("prune", model, "--macs", 0.8, "--dry-run", "--json", "--out", "run", *pair)
    assert code == 0, notes  # what was refused does not stand in the way
    warned = json.loads(said)["forecast"]["warnings"]
    assert sum("1 of 145 pairs are left out" in line for line in warned) == 1  # valid is train here
    assert sum("1 of 145 test sentences are NOT SCORED" in line for line in warned) == 1
    assert all(f"warning: {line}" in notes for line in warned)
    options = ("--one-shot", "--long-lines", "crop", "--set", "bench.rounds=4", "--set", "bench.sentences=2")
    code, said, notes = tprune("prune", model, "--macs", 0.8, *options, "--json", "--out", "cropped", *pair)
    assert code == 0, notes
    assert any("1 of 145 sentences are cropped to the 32 tokens" in line for line in json.loads(said)["warnings"])
    assert len(json.loads((model.parent / "cropped" / "translations.json").read_text())["reference"]) == 145
    code, _, notes = tprune("prune", model, "--macs", 0.8, *options[:1], "--out", "cropped", *pair)
    assert code == 1 and "another recipe.data.long_lines ('crop', now 'skip')" in notes


@pytest.mark.slow
def test_a_training_that_runs_away_names_the_option(tprune: Call, model: Path) -> None:
    wild = ("--set", "recover.lr=1e30", "--set", "recover.sequence_distillation=0", "--steps", 40)
    code, _, notes = tprune("prune", model, "--macs", 0.9, *wild, "--out", "run", *DATA)
    assert code == 1 and "On the command line: --set recover.lr=3e+29" in notes.splitlines()[-1], notes
