"""The command line called in this process, and a small model with sentences to try it on."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tprune.cli import app as cli
from tprune.realise.checkpoint import save
from tprune.tasks.translation.encoding import MarianSize, new_model, train_tokenizer

SOURCE = ["a cat sat", "a dog ran", "the cat ran far", "the dog sat", "a cat ran", "the dog ran far away"] * 6
TARGET = ["x y z", "x u", "v y u w", "v u z", "x y u", "v u w w z"] * 6


@pytest.fixture
def tprune(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TPRUNE_PLUGINS", "")  # what --plugin sets goes with the test

    def call(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tprune", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    (tmp_path / "s").write_text("\n".join(SOURCE) + "\n")
    (tmp_path / "t").write_text("\n".join(TARGET) + "\n")
    tokenizer = train_tokenizer(tuple(SOURCE + TARGET), 60, 32)
    return save(new_model(MarianSize(16, (1, 1), 2, 32, 60, 0.1, 32), len(tokenizer)), tmp_path / "model", tokenizer)
