"""`tprune analyze`: what it writes, what it refuses, and that it overwrites nothing."""

import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from tprune.analysis import Analysis
from tprune.analysis.sites import origin_from_name
from tprune.cli import app as cli
from tprune.cli.analyze import check_free
from tprune.realise.checkpoint import save
from tprune.report.analysis_page import heat_map, loss_curve, write_page
from tprune.support.errors import InputError
from tprune.tasks.translation.encoding import MarianSize, new_model, train_tokenizer

SOURCE = [f"the {a} {b} sees a {c} ball" for a in ("red", "old", "new") for b in ("cat", "dog") for c in ("big", "odd")]
TARGET = [line.upper() for line in SOURCE]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(SOURCE + TARGET, 80, 32)
    small = new_model(MarianSize(16, (1, 1), 2, 32, 80, 0.0, 32), len(tokenizer))
    run = tmp_path_factory.mktemp("run")
    (run / "run.json").write_text("{}")
    return save(small, run / "dense", tokenizer)


@pytest.fixture
def texts(tmp_path: Path) -> list[str]:
    return write(tmp_path, SOURCE, TARGET)


def write(folder: Path, source: list[str], target: list[str]) -> list[str]:
    folder.mkdir(exist_ok=True)
    for name, lines in (("s", source), ("t", target)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    flags = ("--src", "--tgt", "--valid-src", "--valid-tgt")
    return [part for i, flag in enumerate(flags) for part in (flag, str(folder / "st"[i % 2]))]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> int:
    monkeypatch.setattr(sys, "argv", ["tprune", "analyze", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


class Checker(HTMLParser):
    """Collects links and open tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.drawings = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for key, value in attrs if key in ("src", "href")]
        self.drawings += tag == "svg"
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_run_directory_is_analysed(
    model: Path, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = (model / "model.safetensors").read_bytes()
    out = tmp_path / "found"
    for _ in range(2):  # an earlier analysis may be replaced
        assert call(monkeypatch, model.parent, "--dense", *texts, "--steps", 6, "--blocks", "heads", "--out", out) == 0
    said = capsys.readouterr().out
    assert "decoder 0 cross" in said and str(out / "analysis.html") in said and "dense" in said
    assert (model / "model.safetensors").read_bytes() == weights
    assert {path.name for path in out.iterdir()} == {"analysis.json", "analysis.html"}
    found, data = Analysis.load(out / "analysis.json"), json.loads((out / "analysis.json").read_text(encoding="utf-8"))
    assert len(found.path) == 5 and found.blocks == "heads" and found.loss is not None
    assert {c.kind for c in found.components} == {"lines", "ffn", "heads", "qk", "vo"}
    assert [a["sublayer"] for a in data["advice"]] == [
        "encoder 0 self",
        "decoder 0 self",
        "decoder 0 cross",
        "encoder 0 ffn",
        "decoder 0 ffn",
    ]
    checker, page = Checker(), (out / "analysis.html").read_text(encoding="utf-8")
    checker.feed(page)
    assert f"<title>tprune: what gives way in {model.parent.name}/dense on s/t</title>" in page
    assert not checker.open and not checker.links and checker.drawings > 20


def test_json_is_all_that_is_printed(
    model: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, model, *texts, "--steps", 2, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert len(data["path"]) == 2 and data["made"]["command"].startswith("tprune analyze")


def test_an_empty_validation_file_is_named(
    model: Path, tmp_path: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").write_text("")
    texts[texts.index("--valid-src") + 1] = str(tmp_path / "empty")
    assert call(monkeypatch, model, *texts) == 1
    assert f"{tmp_path / 'empty'}: the file is empty" in capsys.readouterr().err


def test_text_of_another_language_is_warned_of(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = write(tmp_path / "ru", ["кот видит мяч", "пёс спит"] * 4, TARGET[:8])
    assert call(monkeypatch, model, *foreign, "--steps", 1, "--json") == 0
    said = capsys.readouterr()
    (warned,) = [line for line in said.err.splitlines() if "unknown tokens" in line]
    assert str(tmp_path / "ru" / "s") in warned
    assert any("unknown tokens" in line for line in json.loads(said.out)["warnings"])


@pytest.mark.parametrize("held", ["chapter.tex", "run.json"])
def test_a_folder_that_holds_something_else_is_refused(
    held: str,
    model: Path,
    texts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    for name in (held, "analysis.json"):
        (out / name).write_text("important")
    assert call(monkeypatch, model, *texts, "--steps", 1, "--out", out) == 1
    assert f"holds '{held}'" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in out.iterdir()} == {held: "important", "analysis.json": "important"}


def test_what_is_no_analysis_is_refused(tmp_path: Path) -> None:
    check_free(tmp_path / "new")
    (tmp_path / "analysis.json").write_text("{}")
    with pytest.raises(InputError, match="no analysis"):
        check_free(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        check_free(tmp_path / "analysis.json")


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    reading = {"zero": 0.5, "shrunk": 0.5, "norms": [0.0, 1.0]}
    component = {
        "name": "<b>.in",
        "kind": "lines",
        "groups": 2,
        "norms": [1.0, 1.0],
        "path": [reading],
        "zero": 0.5,
        "site": ["<b>", 0, "<i>"],
        "matrix": "<u>",
        "axis": "in",
    }
    made = {
        "model": "<script>alert(1)</script>",
        "command": "a & b",
        "commit": None,
        "machine": {"cpu": "<i>", "cores": 1},
        "versions": {},
    }
    found = {
        "made": made,
        "advice": [],
        "warnings": ["<u>odd</u>"],
        "components": [component],
        "telling": 0,
        "loss": 1.0,
        "path": [{"strength": 1.0, "step": 1, "loss": 2.0}],
    }
    page = write_page(tmp_path / "p.html", found).read_text(encoding="utf-8")
    assert not any(bad in page for bad in ("<script>", "<b>", "<u>", "<i>", "a & b"))
    assert "&lt;script&gt;" in page and "http" not in page


def test_the_heat_map_has_a_row_a_layer_and_input_before_output_lines() -> None:
    def lines(name: str, zero: float) -> dict[str, Any]:
        return {"name": name, "groups": 8, "path": [{"zero": zero}], **origin_from_name(name, "lines")}

    encoder, decoder = "model.encoder.layers.0", "model.decoder.layers.0"
    found = heat_map(
        [
            lines(f"{encoder}.fc1.out", 0.25),
            lines(f"{encoder}.fc1.in", 0.5),
            lines(f"{decoder}.encoder_attn.q_proj.in", 1.0),
        ],
        0,
    )
    assert found["columns"] == ["cross q_proj", "ffn fc1"]
    assert [row["name"].split() for row in found["rows"]] == [["encoder", "0"], ["decoder", "0"]]
    assert [[[cell["text"] for cell in cells] for cells in row["cells"]] for row in found["rows"]] == [
        [[], ["50", "25"]],
        [["100"], []],
    ]
    lost = {**lines("a.b.in", 0.5), "site": None}
    cell = {"text": "50", "strength": 50, "title": "a.b.in: 50.0% of 8 lines vanished"}
    assert heat_map([lost], 0) == {"columns": ["a.b b"], "rows": [{"name": "in no layer", "cells": [[cell]]}]}


def test_the_curve_of_the_loss_fits_and_leaves_out_what_is_not_finite() -> None:
    path = [{"strength": 10.0**i, "loss": loss} for i, loss in enumerate((2.0, 2.5, float("nan"), None, 4.0))]
    found = loss_curve({"loss": 2.0, "path": path})
    assert found and len(found["dots"]) == 3 and found["base"] == found["dots"][0]["y"]
    assert [dot["x"] for dot in found["dots"]] == sorted(dot["x"] for dot in found["dots"])
    assert {"2.50", "4.00", "dense 2.00"} <= {label["text"] for label in found["labels"]}
    assert loss_curve({"loss": None, "path": path}) is None
