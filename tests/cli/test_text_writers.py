"""The commands on models beside Marian and BART that write text: export, translate, evaluate, prune."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from text_writers import writer
from tprune.cli.export import built_in
from tprune.core.plan import Plan
from tprune.realise.checkpoint import load, save
from tprune.tasks.translation.encoding import train_tokenizer
from tprune.tasks.translation.long_lines import lengths

Call = Callable[..., tuple[int, str, str]]
SOURCE = ["a cat sat", "a dog ran", "the cat ran far", "the dog sat", "a cat ran", "the dog ran far away"] * 6
TARGET = ["x y z", "x u", "v y u w", "v u z", "x y u", "v u w w z"] * 6
DATA = ("--src", "s", "--tgt", "t", "--valid-src", "s", "--valid-tgt", "t", "--set", "prune.search=0")


def saved(name: str, folder: Path) -> Path:
    (folder / "s").write_text("\n".join(SOURCE) + "\n")
    (folder / "t").write_text("\n".join(TARGET) + "\n")
    tokenizer = train_tokenizer(tuple(SOURCE + TARGET), 60, 60)
    return save(writer(name, len(tokenizer)), folder / "model", tokenizer)


@pytest.mark.parametrize("name", ["t5", "mbart"])
def test_a_dry_run(tprune: Call, name: str, tmp_path: Path) -> None:
    code, said, notes = tprune(
        "prune", saved(name, tmp_path), "--macs", 0.8, "--dry-run", "--json", "--out", "run", *DATA
    )
    assert code == 0, notes
    forecast = json.loads(said)["forecast"]
    assert forecast["reached"]["macs"] <= 0.8 * forecast["dense"]["macs"]


def test_sentences_for_a_check_fit_the_positions_of_a_model() -> None:
    tokenizer = train_tokenizer(tuple(SOURCE + TARGET), 60, 60)
    count = lengths(tokenizer)[0]
    every, few = built_in(tokenizer, 1000), built_in(tokenizer, 60)
    assert max(count(every)) > 60 and max(count(few)) <= 60 and len(few) == len(every)
    assert all(text.startswith(short) for text, short in zip(every, few, strict=True))
    assert all(short == text for text, short in zip(every, few, strict=True) if count([text])[0] <= 60)


@pytest.mark.slow
def test_one_shot_leaves_the_attention_that_others_need(tprune: Call, tmp_path: Path) -> None:
    code, _, notes = tprune(
        "prune", saved("t5", tmp_path), "--macs", 0.6, "--one-shot", "--out", "run", *DATA, "--set", "bench.rounds=4"
    )
    assert code == 0, notes
    kept = {e.coupling.name: int(e.keep.sum()) for e in Plan.load(tmp_path / "run" / "pruned" / "plan.json").entries}
    assert all(kept[f"{stack}.block.0.layer.0.SelfAttention.heads"] for stack in ("encoder", "decoder"))
    assert type(load(tmp_path / "run" / "pruned")).__name__ == "PrunedT5ForConditionalGeneration"
    code, said, notes = tprune("evaluate", "run", "--src", "s", "--tgt", "t", "--json")
    assert code == 0 and json.loads(said), notes
    code, _, notes = tprune(
        "prune", "model", "--plan", "run/pruned/plan.json", "--one-shot", "--dry-run", "--out", "other", *DATA
    )
    assert code == 0, notes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pegasus", "m2m_100"])
def test_export_and_what_reads_it(tprune: Call, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = saved(name, tmp_path)
    # the built-in sentences are longer than the positions of these models
    given = ("--sentences", "s") if name == "m2m_100" else ()
    code, _, notes = tprune("export", model, "--out", "out", *given)
    assert code == 0, notes
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a cat sat\nthe dog ran\n")))
    code, said, notes = tprune("translate", "out")
    assert code == 0 and len(said.splitlines()) == 2, notes
    code, said, notes = tprune("evaluate", "out", "--src", "s", "--tgt", "t", "--json")
    assert code == 0 and json.loads(said), notes
