"""The benchmark of recovery on a toy: every row with equal steps, markers that a killed run goes on from, one JSON
file.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

import tprune
from benchmarks.recovery import run
from small_pairs import PAIRS, model_and_tokenizer
from tprune.support.errors import InputError
from tprune.support.files import read_json

ROWS = [
    "dense",
    "cut",
    "labels",
    "word",
    "sequence",
    "word+sequence",
    "hidden",
    "all",
    "all+rewound",
    "at once",
    "in rounds",
]


class Fixed:
    """A translator that knows one sentence."""

    def translate(self, sentences: Sequence[str], beams: int, batch: int) -> list[str]:
        return [f"x y {beams}"] * len(sentences)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(run, "export", lambda *_: None)
    monkeypatch.setattr(run.Translator, "load", staticmethod(lambda *_: Fixed()))
    return run


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    model, tokenizer = model_and_tokenizer()
    plan = tprune.make_plan(model, "marian", tprune.couplings(model, ["ffn", "width"]))
    plan = tprune.select_to(model, plan, tprune.Budget("parameters", 0.7), tprune.Uniform())
    tprune.save(model, tmp_path / "dense", tokenizer)
    tprune.save(tprune.shrink(model, plan), tmp_path / "cut", tokenizer, plan)
    (tmp_path / "data").mkdir()
    for split, pairs in (("train", PAIRS), ("val", PAIRS.head(6))):
        for language, lines in (("en", pairs.source), ("de", pairs.target)):
            text = "".join(f"{line}\n" for line in lines).encode()
            (tmp_path / "data" / f"{split}.{language}.gz").write_bytes(gzip.compress(text))
    (tmp_path / "taught.de").write_text("x y z\n" * len(PAIRS))
    folders = [
        arg
        for name, at in (("model", "dense"), ("cut", "cut"), ("data", "data"), ("out", "out"))
        for arg in (f"--{name}", str(tmp_path / at))
    ]
    taught = ["--taught", str(tmp_path / "taught.de")]
    how = "--steps 2 --tokens 64 --warmup 1 --rewind 4 --rewind-warmup 1 --precision fp32"
    return [*folders, *taught, *how.split()]


@pytest.mark.slow
def test_every_row_is_trained_alike_and_only_once(bench: ModuleType, arguments: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    bench.main([*arguments, "--only", "word"])
    marker = out / "done" / "word.json"
    written = marker.stat().st_mtime_ns
    assert [p.stem for p in (out / "done").iterdir()] == ["word"] and not (out / "recovery.json").exists()
    bench.main(arguments)
    found = read_json(out / "recovery.json")
    assert [row["name"] for row in found["rows"]] == ROWS and marker.stat().st_mtime_ns == written
    rows = {row["name"]: row for row in found["rows"]}
    gradual = rows["in rounds"]
    assert gradual["rounds"] == gradual["training"]["steps"] == 3 and rows["at once"]["rounds"] == 1
    steps = {row["training"]["steps"] for name, row in rows.items() if "training" in row and name != "in rounds"}
    assert steps == {2}
    asked = {
        name: [row["training"][k] for k in ("distill", "sequence_distillation", "hidden_distillation", "rewind")]
        for name, row in rows.items()
        if "training" in row
    }
    assert asked == {
        "labels": [0, 0, 0, 0],
        "word": [0.5, 0, 0, 0],
        "sequence": [0, 1, 0, 0],
        "word+sequence": [0.5, 1, 0, 0],
        "hidden": [0, 0, 1, 0],
        "all": [0.5, 1, 1, 0],
        "all+rewound": [0.5, 1, 1, 4],
        "at once": [0, 0, 0, 0],
        "in rounds": [0, 0, 0, 0],
    }
    assert rows["cut"]["parameters"] < rows["dense"]["parameters"] == found["rows"][0]["parameters"]
    assert len({rows[name]["nll"] for name in ROWS}) == len(ROWS)  # no two of them trained alike
    assert all(row["beam4"]["sentences"] == 6 and row["against_labels"]["beam1"]["delta"] == 0 for row in rows.values())
    assert {"command", "commit", "versions", "machine"} <= found.keys() and found["settings"]["precision"] == "fp32"
    kept = bench.Kept(out / found["kept"])
    again = kept.difference(["labels.beam4"], ["word.beam4"], PAIRS.head(6).target)  # from what is stored alone
    assert again.to_dict() == rows["word"]["against_labels"]["beam4"]
    assert (
        kept.plan_of("cut").reached
        and [kept.plan_of(f"in rounds.round-{i}").family for i in (1, 2, 3)] == ["marian"] * 3
    )


def test_rows_of_other_settings_are_not_mixed(bench: ModuleType, arguments: list[str]) -> None:
    bench.main([*arguments, "--only", "cut"])
    with pytest.raises(InputError, match=r"another lr \(0\.001, now 0\.002\)"):
        bench.main([*arguments, "--lr", "2e-3"])


def test_with_equal_compute_rows_without_the_teachers_passes_train_longer(
    bench: ModuleType, arguments: list[str]
) -> None:
    alike, longer = (bench.rows(bench.parse([*arguments, *more]), 0.25) for more in ((), ("--equal-compute",)))
    assert {how.steps for how in alike.values()} == {2}
    steps = {name: how.steps for name, how in longer.items()}  # 1.75 units a step with the teacher, 0.75 without
    assert steps == {**dict.fromkeys(steps, 2), "labels": 5, "sequence": 5}
