"""What the page shows of a run: numbers, drawing, text that is escaped, and that it asks nobody for anything."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from small_models import small_model
from small_results import ONNX, small_results
from tprune.bench.harness import Workload
from tprune.core.plan import Plan, make_plan
from tprune.families.registry import couplings
from tprune.realise.checkpoint import save
from tprune.realise.shrink import shrink
from tprune.report.drawing import WIDE, drawing
from tprune.report.norms import curves, sorted_norms
from tprune.report.page import marked, targets, where_time_goes, write_report
from tprune.report.results import Outcome, Protocol, PseudoTargets, RunResults
from tprune.report.table import notes, rows
from tprune.report.titles import asked

NAME = "model.encoder.layers.0"
ALONE = {"br", "meta", "circle", "line", "rect", "polyline"}


def selected(model: Any) -> Plan:
    """Two of four heads of the first encoder layer, half of their query-key dimensions, a quarter of its units."""
    wanted = {f"{NAME}.self_attn.heads", f"{NAME}.self_attn.qk", f"{NAME}.ffn"}
    plan = make_plan(model, "marian", [c for c in couplings(model) if c.name in wanted])
    masks = {}
    for entry in plan.entries:
        keep = torch.ones(entry.groups, dtype=torch.bool)
        if entry.coupling.kind == "heads":
            keep[1:3] = False
        elif entry.coupling.kind == "qk":
            keep[:, : entry.groups[1] // 2] = False
        else:
            keep[entry.groups[0] // 4 :] = False
        masks[entry.coupling.name] = keep
    return plan.with_kept(masks, {}, {})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of a small model, with hostile sentences."""
    dense: Any = small_model("marian")
    plan = selected(dense)
    small = shrink(dense, plan)
    save(dense, tmp_path / "dense")
    save(small, tmp_path / "cut", plan=plan)
    stage = {"steps": 0, "sequence_distillation": 0.0, "distill": 0.0, "rewind": 0}
    recipe = {
        "analyze": {"steps": 0},
        "prune": {**stage, "method": "hoyer_square", "allocation": "loss"},
        "recover": {**stage, "steps": 5, "sequence_distillation": 0.5},
    }
    said = {
        "source": ["<script>x</script>"] * 3,
        "reference": ["r"] * 3,
        "dense": ["a <b>bold</b> word"] * 3,
        "pruned": ["a word\u2028more"] * 3,
    }
    for name, content in {
        "run": {"recipe": recipe, "plan": None},
        "results": small_results().to_dict(),
        "translations": said,
        "forecast": {"speedup": 2.05},
        "norms": sorted_norms(dense, small),
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


class Page(HTMLParser):
    """Open tags, links and texts of a page; fails where tags do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.unlabelled = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.links += [str(given[key]) for key in ("href", "src") if key in given]
        self.unlabelled += tag == "svg" and not given.get("aria-label")
        if tag not in ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ALONE:
            assert self.open.pop() == tag


def test_the_page_stands_alone_nests_and_escapes(run: Path) -> None:
    text = write_report(run).read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert not page.open and not page.links and "http" not in text and len(text) < 3_000_000
    assert "script" not in page.tags and "&lt;script&gt;x" in text and "&lt;i&gt;odd" in text and not page.unlabelled
    model: Any = small_model("marian")
    sublayers = 2 * model.config.encoder_layers + 3 * model.config.decoder_layers
    assert page.tags.count("svg") == 1 + sublayers + len(sorted_norms(model, model))
    for words in ("2 of 4 heads, at 75%", "2.05x", "kim2016sequence", "hassibi1993second", "Where the time"):
        assert words in text, words
    assert "yang2020deephoyer" not in text


def test_the_titles_name_model_data_and_what_was_asked(run: Path) -> None:
    made_for = json.loads((run / "run.json").read_text())
    names = {"model": "marian-tiny", "train": "a.en/a.de", "valid": "v.en/v.de", "test": "t.en/t.de"}
    (run / "run.json").write_text(json.dumps({**made_for, "names": names}))
    text = write_report(run).read_text(encoding="utf-8")
    assert "<title>tprune: marian-tiny on a.en/a.de, 2x</title>" in text
    assert "<h1><bdi>marian-tiny on a.en/a.de, 2x</bdi></h1>" in text
    assert "scored and timed on <bdi>t.en/t.de</bdi>" in text
    assert asked(Outcome({}, {})) == ""
    sizes = {"macs": 0.5, "params": 2e6, "latency_ms": 2.5, "memory_mb": 80.0}
    assert [asked(Outcome({}, {}, unit, value)) for unit, value in sizes.items()] == [
        "0.5 of the multiplications",
        "2,000,000 parameters",
        "2.5 ms",
        "80 MB",
    ]


def test_precision_and_threads_of_training_are_shown_where_a_run_has_them(run: Path) -> None:
    assert "Trained and pruned" not in write_report(run).read_text(encoding="utf-8")
    made_for = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**made_for, "training": {"precision": "bf16", "threads": 2}}))
    assert "<p>Trained and pruned in bf16 on 2 threads.</p>" in write_report(run).read_text(encoding="utf-8")


def test_bytes_and_control_characters_of_names_are_written_out(run: Path) -> None:
    odd = small_results(model="a\udcffb\x1b[2J\x00c", command="x\u2028y")
    (run / "results.json").write_text(json.dumps(odd.to_dict()))
    text = write_report(run).read_text(encoding="utf-8")
    assert r"a\udcffb\x1b[2J\x00c" in text and "x\u2028y" in text


def test_a_drawing_shows_what_is_left_inside_the_dense_outline() -> None:
    model: Any = small_model("marian")
    stacks = {stack.name: stack for stack in drawing(selected(model), model.config.to_dict())}
    assert len(stacks["encoder"].blocks) == 2 * model.config.encoder_layers
    assert len(stacks["decoder"].blocks) == 3 * model.config.decoder_layers
    attention, units = stacks["encoder"].blocks[:2]
    assert [cell.left for cell in attention.cells] == [0.75, 0, 0, 0.75] and attention.says == "2 of 4 heads, at 75%"
    assert [(cell.wide, cell.left) for cell in units.cells] == [(WIDE / 4, 1.0), (0.75 * WIDE, 0.0)]
    untouched = stacks["decoder"].blocks[0]
    assert [cell.left for cell in untouched.cells] == [1.0] * 2 and untouched.says == "2 of 2 heads"


def test_a_removed_sublayer_is_an_empty_outline() -> None:
    model: Any = small_model("marian")
    wanted = {f"{NAME}.ffn.sublayer", "model.decoder.layers.0.encoder_attn.sublayer"}
    plan = make_plan(model, "marian", [c for c in couplings(model) if c.name in wanted])
    plan = plan.with_kept({e.coupling.name: torch.tensor(False) for e in plan.entries}, {}, {})
    encoder, decoder = drawing(plan, model.config.to_dict())
    for block in (encoder.blocks[1], decoder.blocks[1]):
        assert block.says == "removed" and not any(cell.left for cell in block.cells)


def test_norms_end_where_the_groups_do() -> None:
    model: Any = small_model("marian")
    plan = selected(model)
    found = {each["name"]: each for each in sorted_norms(model, shrink(model, plan))}
    units = found[f"{NAME}.ffn"]
    assert (
        units["kept"] == 0.25
        and units["before"] == sorted(units["before"], reverse=True)
        and max(units["before"]) == 1.0
    )
    line = {each["name"]: each for each in curves(list(found.values()))}[f"{NAME.removeprefix('model.')}.ffn"]
    end = [float(part.split(",")[0]) for part in line["after"].split()][-1]
    assert end < 0.3 * float(line["before"].split()[-1].split(",")[0])


def test_targets_say_asked_predicted_and_reached() -> None:
    found = {row[0]: row[1:] for row in targets(small_results(), {"speedup": 2.05})}
    assert found["milliseconds a sentence"] == ("4", "3.9", "4")
    assert found["speedup of a sentence"] == ("2x", "2.05x", "2.00x [1.90, 2.10]")
    sized = small_results(target=Outcome({"macs": 5000.0}, {"macs": 4000.0}, "macs", 0.6))
    found = {row[0]: row[1:] for row in targets(sized, {"speedup": None})}
    assert found["multiplications"] == ("5,000", "4,000", "4,000") and found["speedup of a sentence"][:2] == ("", "")


def test_a_language_model_is_quoted_by_what_its_target_is_about() -> None:
    """A text, which says of what it is composed; prefill and step are beside it."""
    took = {"text": 10.0, "prefill": 2.0, "step": 0.4}
    sides = {
        name: replace(side, latency_ms={ONNX: took}, tokens_per_sentence=0)
        for name, side in small_results().sides.items()
    }
    found = small_results(
        **sides,
        speedup={ONNX: {"text": 1.5, "prefill": 1.2, "step": 1.6}},
        speedup_interval={ONNX: dict.fromkeys(took, (1.1, 1.7))},
        target=Outcome({"text_ms": 10.0}, {"text_ms": 9.0}, "speedup", 1.5),
        bench=Protocol(1, 1, 4, Workload(new_tokens=20), {"text": {"prefill": 1, "step": 20}}),
    )
    said = {row[0]: row[1:] for row in targets(found, {"speedup": 1.6})}
    assert said["milliseconds a text"] == ("10", "9", "10")
    assert said["speedup of a text"] == ("1.5x", "1.60x", "1.50x [1.10, 1.70]") and "speedup of a step" not in said
    assert {f"{ONNX}: {name}, ms" for name in ("text (composed: prefill + 20 x step)", "prefill", "step")} <= {
        row[0] for row in rows(found)
    }
    assert [(part["name"], part["ms"]) for part in where_time_goes(found)[0]["parts"]] == [
        ("prefill", 2),
        ("20 x step", 8),
    ]
    assert RunResults.from_dict(found.to_dict()) == found
    earlier = replace(found, speedup={ONNX: {"prefill": 1.2, "step": 1.6}})  # of a version that quoted the step
    assert {row[0] for row in targets(earlier, {})} >= {"speedup of a text", "speedup of a step"}


def test_the_parts_of_a_sentence_add_up() -> None:
    dense, pruned = where_time_goes(small_results())
    assert [part["ms"] for part in dense["parts"]] == pytest.approx([0.8, 4.0, 3.2]) and dense["ms"] == 8.0
    assert sum(part["share"] for part in dense["parts"]) == pytest.approx(100)
    assert sum(part["share"] for part in pruned["parts"]) == pytest.approx(50)


def test_the_share_that_ends_at_the_limit_is_a_row_where_it_was_counted() -> None:
    label = "translations that end at the limit"
    found = small_results()
    assert label not in {row[0] for row in rows(found)}
    sides = {"dense": replace(found.dense, at_limit=0.01), "pruned": replace(found.pruned, at_limit=0.125)}
    counted = replace(found, **sides)
    assert {row[0]: row[1:] for row in rows(counted)}[label] == ("1.0 %", "12.5 %", "+11.5 %")
    taught = small_results(taught=PseudoTargets(9, 0.25, 20))
    assert "25.0 % of the teacher's translations that it learnt from end at the limit" in notes(taught)


def test_words_that_differ_are_marked_and_escaped() -> None:
    one, other = marked("a <b> cat", "a red cat")
    assert str(one) == "a <mark>&lt;b&gt;</mark> cat" and str(other) == "a <mark>red</mark> cat"
