"""`tprune demo` from the outside: the whole road, and that its numbers mean something."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tprune.core.coupling import bind
from tprune.core.plan import Plan, make_plan
from tprune.core.selection import keep_best, lines_of
from tprune.data.synthetic.grammar import corpus
from tprune.realise.checkpoint import load, load_tokenizer
from tprune.realise.mask import mask_
from tprune.tasks.metrics.translation import quality

# one worker for all of them: a second would only wait for the demo
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]


def test_results(demo: Path) -> None:
    results = json.loads((demo / "results.json").read_text(encoding="utf-8"))
    dense, pruned = (results[side]["scores"]["BLEU"]["value"] for side in ("dense", "pruned"))
    assert 60 <= dense <= 95 and pruned >= dense - 20 and results["metric"] == "BLEU"
    assert results["pruned"]["macs"] <= 0.5 * results["dense"]["macs"]
    for side in ("dense", "pruned"):
        assert {"scores", "parameters", "macs", "bytes", "latency_ms"} <= set(results[side])
        assert set(results[side]["latency_ms"]["onnxruntime"]) == {"encoder", "decoder_step", "sentence"}
    assert set(results["speedup"]["onnxruntime"]) == {"encoder", "decoder_step", "sentence"}
    assert results["certificate"]["forward"] <= 1e-5 and results["certificate"]["generation"] <= 1e-5
    assert {"command", "commit", "versions", "machine"} <= set(results)


def test_page_shows_the_run(demo: Path) -> None:
    page = (demo / "report.html").read_text(encoding="utf-8")
    results = json.loads((demo / "results.json").read_text(encoding="utf-8"))
    assert f"{results['dense']['scores']['BLEU']['value']:.2f}" in page and "http" not in page.split("<body>")[0]
    assert page.count("<article>") == 20


STANDING = {"dense fp32", "dense int8", "pruned fp32", "pruned int8"}


def test_results_and_page_have_the_standing_rows(demo: Path) -> None:
    results = json.loads((demo / "results.json").read_text(encoding="utf-8"))
    rows = {f"{row['model']} {row['precision']}": row["result"] for row in results["rows"]}
    assert set(rows) == STANDING and len(results["rows"]) == 4 and not results["refused"]
    for name, row in rows.items():
        assert row["scores"]["BLEU"]["value"] >= results["dense"]["scores"]["BLEU"]["value"] - 20, name
        assert row["latency_ms"]["onnxruntime"]["sentence"] > 0, name
    for side in ("dense", "pruned"):
        assert rows[f"{side} int8"]["bytes"] < 0.5 * rows[f"{side} fp32"]["bytes"] == 0.5 * results[side]["bytes"]
    page = (demo / "report.html").read_text(encoding="utf-8")
    for name, row in rows.items():
        line = re.search(rf'<tr><th scope="row">{name}</th>(.*?)</tr>', page)
        assert line is not None, name
        assert f"<span>{row['scores']['BLEU']['value']:.2f}</span>" in line[1], name
        assert f"<span>{row['latency_ms']['onnxruntime']['sentence']:.3g}</span>" in line[1], name


def test_a_finished_run_is_not_repeated_and_another_recipe_is_refused(demo: Path) -> None:
    before = (demo / "pruned" / "model.safetensors").stat().st_mtime_ns
    command = [sys.executable, "-m", "tprune", "demo", "--out", str(demo)]
    subprocess.run(command, check=True, timeout=120)
    assert (demo / "pruned" / "model.safetensors").stat().st_mtime_ns == before
    refused = subprocess.run([*command, "--seed", "5"], capture_output=True, text=True, timeout=120)
    assert refused.returncode == 1 and "recipe.seed" in refused.stderr and len(refused.stderr.splitlines()) == 1


def test_random_cutting_of_equal_size_costs_twenty_bleu(demo: Path) -> None:
    model, tokenizer = load(demo / "dense").eval(), load_tokenizer(demo / "dense")
    plan = Plan.load(demo / "pruned" / "plan.json")
    random = torch.Generator().manual_seed(0)
    mixed = make_plan(model, plan.family, plan.couplings)
    kept = {}
    for groups, entry in zip(bind(plan.couplings, model), plan.entries, strict=True):
        lines = round(len(entry.kept or ()) / entry.keep.numel() * lines_of(entry.keep))
        kept[groups.coupling.name] = keep_best(torch.rand(groups.shape, generator=random), lines)
    test = corpus(seed=0, train=20_000, valid=200, test=300).pooled_test().head(150)

    def bleu() -> float:
        batch = tokenizer(list(test.source), return_tensors="pt", padding=True)
        ids = model.generate(batch.input_ids, attention_mask=batch.attention_mask, num_beams=1)
        return quality(tokenizer.batch_decode(ids, skip_special_tokens=True), test.target).bleu

    dense = bleu()
    mask_(model, mixed.with_kept(kept, {}, {}))
    assert bleu() <= dense - 20
