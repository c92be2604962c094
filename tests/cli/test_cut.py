"""`tprune cut`: a checkpoint made smaller file by file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner

import tprune
from tprune.cli.app import app

RUNNER = CliRunner()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=2, vocab_size=30)).save_pretrained(tmp_path / "dense")
    return tmp_path / "dense"


def test_by_norms_and_by_the_same_plan(folder: Path, tmp_path: Path) -> None:
    given = RUNNER.invoke(app, ["cut", str(folder), "--params", "0.7", "--out", str(tmp_path / "a"), "--json"])
    assert given.exit_code == 0, given.output
    found = json.loads(given.stdout)
    assert found["reached"]["params"] <= found["asked"]["params"]
    assert sum(p.numel() for p in tprune.load(tmp_path / "a").parameters()) == found["reached"]["params"]
    again = RUNNER.invoke(
        app, ["cut", str(folder), "--plan", str(tmp_path / "a/plan.json"), "--out", str(tmp_path / "b")]
    )
    assert again.exit_code == 0, again.output
    assert "stays:" in again.stdout
    mine, theirs = (tprune.load(tmp_path / name).state_dict() for name in "ab")
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--params, --bytes, --macs, or a --plan"),
        (["--params", "0.5", "--macs", "0.5"], "give one target"),
        (["--params", "1.5"], "expected"),
    ],
)
def test_mistakes_of_usage(folder: Path, tmp_path: Path, options: list[str], says: str) -> None:
    given = RUNNER.invoke(app, ["cut", str(folder), *options, "--out", str(tmp_path / "a")])
    assert given.exit_code == 2
    assert says in " ".join(given.output.replace("│", " ").split())


def test_the_checkpoint_itself_is_not_replaced(folder: Path) -> None:
    given = RUNNER.invoke(app, ["cut", str(folder), "--params", "0.7", "--out", str(folder)])
    assert given.exit_code == 1
    assert "another folder" in str(given.exception)
