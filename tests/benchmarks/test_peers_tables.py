"""The tables and the plot of benchmarks/peers: every row, what was asked, and speed like for like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def row(method: str, asked: float, seed: int, bleu: float, speed: float) -> dict[str, Any]:
    pruning = {"seconds": 3.0, "peak": 2**30}
    return {
        "name": f"{method}-{asked:g}x-s{seed}",
        "method": method,
        "asked": asked,
        "seed": seed,
        "bleu": bleu,
        "macs": 3e8,
        "speedup": {"onnxruntime": {"sentence": speed}},
        "speedup_interval": {"onnxruntime": {"sentence": [speed, speed]}},
        "pruning": pruning,
        "pruning_units": 24.0,
        "spent": 3199.0,
        "notes": ["a note"],
        "predicted": 2.0,
        "recovery_steps": 900,
        "noise": {"noisy": False},
        "reason": None,
        "dense_latency_ms": {"onnxruntime": {"sentence": 6.0}},
        "bleu_signature": "s",
    }


def comparison(*rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "rows": list(rows),
        "sentences": 10,
        "beams": 4,
        "bench": {"threads": 1, "batch": 1, "sentences": 20, "rounds": 16, "protocol": "in turns"},
        "machine": {"cpu": "C", "cores": 2, "system": "Linux", "python": "3.11"},
        "command": "run",
        "commit": "abc",
        "together": [],
    }


FAILED = {"method": "layer-drop", "asked": 3.0, "seed": 0, "failed": "cannot be so fast"}


def test_the_table_shows_every_row_and_failures_with_their_reason() -> None:
    from benchmarks.peers.rows import markdown

    rows = [
        row("magnitude", 2.0, 0, 35.0, 1.99),
        row("fisher", 2.0, 0, 36.0, 1.5),
        row("fisher", 2.0, 1, 37.0, 1.5),
        FAILED,
    ]
    text = markdown(comparison(*rows))
    lines = text.splitlines()
    assert [line.split("|")[1].split()[0] for line in lines[2:6]] == ["fisher", "fisher", "magnitude", "layer-drop"]
    assert {line.count("|") for line in lines[:6]} == {14}
    assert "predicted 2.00x" in lines[2] and "predicted" not in lines[4] and "cannot be so fast" in lines[5]
    assert "6.00 ms" in text and "in turns" in text and "greedy" in lines[0] and "beam 4" in lines[0]
    assert "0 of 3 timings" in text and "not stored" in text
    assert lines[4].startswith("| magnitude (2) |") and "(2) Sizes are an artefact" in text


def test_a_row_says_what_was_asked_first_and_what_it_was_aimed_at() -> None:
    from benchmarks.peers.rows import markdown

    aimed = {**row("ours", 3.0, 0, 35.0, 2.7), "named": 2.7, "aim": 3.4}
    unknown = {**row("ours", 2.9, 0, 30.0, 3.0), "named": 2.9, "asked": None}
    lines = markdown(comparison(aimed, unknown)).splitlines()
    assert "| 3x | 3.4x | 0 | 2.70x" in lines[2]
    assert "| not stored |  | 0 | 3.00x" in lines[3]


def test_speed_like_for_like_is_against_the_dense_model_with_as_few_tokens() -> None:
    from benchmarks.peers.rows import markdown
    from benchmarks.peers.table import with_like_for_like

    control, ours = row("fewer-tokens", 1.0, 0, 36.0, 1.25), row("ours", 2.0, 0, 36.0, 2.5)
    text = markdown(comparison(control, ours))
    assert "| 2.50x [2.50, 2.50] | 2.00x | 36.00 |" in text and "point estimate" in text
    rounds = {"fewer-tokens": [1.0, 1.1, 1.0, 1.1, 1.0, 1.1], "ours": [2.0, 2.2, 2.0, 2.2, 2.0, 2.2]}
    stored = with_like_for_like([{**each, "ratios": rounds[each["method"]]} for each in (control, ours)])
    assert "like_for_like" not in stored[0]
    assert stored[1]["like_for_like"] == pytest.approx(
        {"sentence": 2.0, "low": 2.0, "high": 2.0}
    )  # rounds vary together
    assert "| 2.00x [2.00, 2.00] |" in markdown(comparison(*stored))
    assert all("like_for_like" not in each for each in with_like_for_like([ours]))


def test_what_was_asked_first_is_found_by_what_a_model_is() -> None:
    from benchmarks.peers.asked import corrected

    now = {**row("ours", 2.7, 0, 30.0, 2.7), "kept": {"ffn": 0.1, "heads": 0.2}}
    later = {**row("ours", 2.2, 0, 30.0, 2.1), "kept": {"ffn": 0.3}, "aim": 2.4}
    renamed = {**row("ours", 2.9, 0, 27.0, 3.0), "kept": {"ffn": 0.05}}
    first = {**now, "asked": 3.0, "kept": {"heads": 0.2, "ffn": 0.1}}
    groups = [{"method": "ours", "asked": asked} for asked in (2.7, 2.2, 2.9)]
    found = corrected({**comparison(now, later, renamed), "together": groups}, comparison(first))
    assert [(each["named"], each["asked"]) for each in found["rows"]] == [(2.7, 3.0), (2.2, 2.2), (2.9, None)]
    assert [(each["named"], each["asked"], each["aim"]) for each in found["together"]] == [
        (2.7, 3.0, None),
        (2.2, 2.2, 2.4),
        (2.9, None, None),
    ]
    assert corrected(found, comparison(first)) == found


def test_the_plot_says_beam_greedy_and_ruler(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.peers.plot import plot

    plot(comparison(row("dense", 1.0, 0, 36.0, 1.0), row("fisher", 2.0, 0, 36.0, 1.5), FAILED), tmp_path / "p.svg")
    svg = (tmp_path / "p.svg").read_text(encoding="utf-8")
    assert svg.startswith("<?xml") and svg.count("<use") > 2
    assert "beam 4" in svg and "greedy" in svg and "6.00 ms dense" in svg
