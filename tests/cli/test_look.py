"""inspect and report."""

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from small_models import small_model
from small_results import as_fast, difference, scores, small_results
from tprune.cli.inspect import checked, inspected
from tprune.core.coupling import Coupling
from tprune.families.registry import couplings
from tprune.report.comparison import compare, names, write_comparison
from tprune.report.results import Noise, Outcome
from tprune.report.scatter import Dot, scatter
from tprune.report.sides import PrecisionRow
from tprune.support.errors import InputError

Call = Callable[..., tuple[int, str, str]]


def results(speed: float, bleu: float, noisy: bool = False, cpu: str = "one") -> dict[str, Any]:
    found = small_results()
    return replace(
        found,
        pruned=replace(found.pruned, scores=scores(bleu)),
        **as_fast(speed, speed - 0.1, speed + 0.1),
        noise=Noise(noisy=noisy, says=""),
        difference=difference(bleu - 30, bleu - 30.5, bleu - 29.5),
        target=Outcome({}, {}, "speedup", speed),
        machine=replace(found.machine, cpu=cpu),
        model=None,
        warnings=(),
    ).to_dict()


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Three runs: the first two on the front, the third behind."""
    found = []
    for name, speed, bleu in (("a <b>", 1.5, 30.1), ("fast", 2.0, 29.0), ("worse", 1.4, 28.0)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"corpus": {"test": "0123"}}))
        (folder / "results.json").write_text(json.dumps(results(speed, bleu)))
        found.append(folder)
    return found


def test_several_runs_are_compared_and_the_front_is_named(tprune: Call, runs: list[Path], tmp_path: Path) -> None:
    found = compare(runs)
    assert [row.best for row in found.rows] == [True, True, False] and not found.warnings
    assert [row.run for row in found.rows] == names(runs) == ["a <b>", "fast", "worse"]
    assert found.rows[1].speedup == (1.9, 2.0, 2.1) and found.rows[1].gap == (-1.5, -1.0, -0.5)
    code, out, _ = tprune("report", *runs, "--out", "pages/c.html")
    assert code == 0 and out.count("on the front") == 2 and "speedup 2" in out
    page = (tmp_path / "pages" / "c.html").read_text()
    HTMLParser().feed(page)
    assert page.count("<circle") == 4 and "a &lt;b&gt;" in page and "<b>" not in page and "http" not in page
    assert tprune("report", *runs, "--out", "pages/c.html")[0] == 0  # an earlier page is replaced
    (tmp_path / "mine").write_text("precious")
    code, _, notes = tprune("report", *runs, "--out", "mine")
    assert code == 1 and "no comparison of runs" in notes and (tmp_path / "mine").read_text() == "precious"


def test_the_title_of_a_comparison_names_models_and_data(runs: list[Path], tmp_path: Path) -> None:
    for run, (model, data) in zip(runs, (("m", "a.en/a.de"), ("m", "a.en/a.de"), ("n", "<data>")), strict=True):
        described = {"corpus": {"test": "0123"}, "names": {"model": model, "train": data}}
        (run / "run.json").write_text(json.dumps(described))
    assert [row.about for row in compare(runs).rows] == ["m on a.en/a.de", "m on a.en/a.de", "n on <data>"]
    text = write_comparison(compare(runs), tmp_path / "c.html").read_text(encoding="utf-8")
    assert (
        "<title>tprune: runs compared: m on a.en/a.de; n on &lt;data&gt;</title>" in text
        and "1. <bdi>a &lt;b&gt;</bdi>" in text
    )
    assert text.count("<small><bdi>") == 3  # which of them each run is about
    alike = write_comparison(compare(runs[:2]), tmp_path / "c.html").read_text(encoding="utf-8")
    assert "runs compared: m on a.en/a.de</title>" in alike and "<small><bdi>" not in alike
    (runs[0] / "run.json").write_text(
        json.dumps({"corpus": {"test": "0123"}, "model": "models/old"})
    )  # of before runs had names
    assert compare(runs[:2]).rows[0].about == "old"


def test_what_runs_do_not_share_is_said(runs: list[Path]) -> None:
    (runs[0] / "run.json").write_text(json.dumps({"corpus": {"test": "9999"}}))
    (runs[1] / "results.json").write_text(json.dumps(results(2.0, 29.0, noisy=True, cpu="two")))
    said = " ".join(compare(runs).warnings)
    assert "different test sentences" in said and "different processors" in said and "not quiet: fast" in said


def test_runs_that_are_none_or_not_finished(tprune: Call, runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "no").mkdir()
    assert "no run" in tprune("report", "no")[2]
    (runs[0] / "results.json").unlink()
    (runs[0] / "stages").mkdir()
    (runs[0] / "stages" / "shrink.json").write_text("{}")
    code, _, notes = tprune("report", runs[0])
    assert code == 1 and "no results yet; its last finished stage is shrink" in notes
    assert f"{runs[1]} is named twice" in tprune("report", runs[1], runs[1])[2]
    (runs[1] / "results.json").write_text("{")
    code, _, notes = tprune("report", runs[1], runs[2])
    assert code == 1 and "results.json: damaged or cut short" in notes


def test_rows_of_one_precision(tprune: Call, runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tprune.report.page.write_report", lambda run: run / "report.html")
    found = small_results()
    rows = [
        PrecisionRow(model=side, precision=name, result=getattr(found, side))
        for name in ("fp32", "int8")
        for side in ("dense", "pruned")
    ]
    (runs[0] / "results.json").write_text(json.dumps(replace(found, rows=tuple(rows)).to_dict()))

    def shown(*options: str) -> list[str]:
        code, out, notes = tprune("report", runs[0], "--json", *options)
        assert code == 0, notes
        return [f"{row['model']} {row['precision']}" for row in json.loads(out)["rows"]]

    assert shown() == ["dense fp32", "pruned fp32", "dense int8", "pruned int8"]
    assert shown("--precision", "int8") == ["dense int8", "pruned int8"]
    code, out, _ = tprune("report", runs[0], "--precision", "int8")
    assert code == 0 and "pruned int8" in out and "pruned fp32" not in out
    code, _, notes = tprune("report", runs[0], "--precision", "int4-weights")
    assert code == 1 and f"{runs[0]}: has no rows in int4-weights; it has fp32, int8" in notes
    assert "has no rows in fp32; it has none" in tprune("report", runs[1], "--precision", "fp32")[2]
    assert "--precision is for the rows of one run" in tprune("report", *runs, "--precision", "int8")[2]


def test_a_plot_holds_all_of_its_dots() -> None:
    dots = [Dot("a", (0.9, 1.0, 1.1), (29.0, 30.0, 31.0)), Dot("b", (3.0, 3.3, 3.9), (12.0, 12.5, 13.0), hollow=True)]
    for some in (dots, dots[:1]):
        plot = scatter(some, "BLEU")
        for spot in plot["dots"]:
            assert plot["left"] <= spot["x0"] <= spot["x"] <= spot["x1"] <= plot["right"]
            assert plot["top"] <= spot["y1"] <= spot["y"] <= spot["y0"] <= plot["bottom"]
        assert len({tick["at"] for tick in plot["up"]}) == len(plot["up"]) >= 2


def test_inspect_tells_and_checks(tprune: Call, model: Path) -> None:
    code, out, notes = tprune("inspect", model, "--kind", "ffn", "--check", "--json")
    assert code == 0, notes
    found = json.loads(out)
    assert [row["groups"] for row in found["couplings"]] == [[32], [32]] and not found["lines_left_out"]
    assert found["couplings"][0]["weights"] == 2 * 16 * 32 and "2 couplings perturbed" in found["checked"][0]
    assert "not shown" in tprune("inspect", model)[1]


def test_a_wrong_table_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = small_model("marian")

    def forgetful(of: Any, kinds: Any = None) -> tuple[Coupling, ...]:
        return tuple(
            Coupling(c.name, c.views[1:], c.closed, c.kind) if c.kind == "ffn" else c for c in couplings(of, kinds)
        )

    rows = inspected(model, ["ffn"])["couplings"]
    checked(model, rows)
    monkeypatch.setattr("tprune.cli.inspect.couplings", forgetful)
    rows = inspected(model)["couplings"]
    with pytest.raises(InputError, match="not what its family says"):
        checked(model, rows)


@pytest.mark.parametrize("content", ["{}", "[]", "3"])
def test_damaged_results_are_named(tprune: Call, runs: list[Path], content: str) -> None:
    (runs[0] / "results.json").write_text(content)
    for command in (("report", runs[0]), ("report", *runs)):
        code, _, notes = tprune(*command)
        assert code == 1 and str(runs[0]) in notes and "unexpected" not in notes
    assert f"{runs[0]}: its results are not what a run writes" in notes
