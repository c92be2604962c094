"""Lowered graphs are kept by what they depend on, and made again where any of it differs."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from tprune.core.known_tasks import task_of
from tprune.families.graphs.graph import skeleton_of
from tprune.runtimes.executorch import kept
from tprune.runtimes.executorch.kept import content, lowered_once
from tprune.runtimes.executorch.lower import exported
from tprune.tasks.translation.encoding import MarianSize, new_model


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / kept.FOLDER


def program(weight: float = 1.0, width: int = 3, activation: nn.Module | None = None) -> torch.export.ExportedProgram:
    module = nn.Sequential(nn.Linear(width, 2), activation or nn.ReLU()).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(weight)
    return torch.export.export(module, (torch.zeros(2, width),))


def test_a_word_depends_on_weights_operators_precision_and_versions() -> None:
    plain = content(program(), "fp32", {"executorch": "1"})
    assert plain == content(program(), "fp32", {"executorch": "1"})
    others = [
        content(program(2.0), "fp32", {"executorch": "1"}),
        content(program(width=4), "fp32", {"executorch": "1"}),
        content(program(activation=nn.GELU()), "fp32", {"executorch": "1"}),
        content(program(), "int8", {"executorch": "1"}),
        content(program(), "fp32", {"executorch": "2"}),
    ]
    assert len({plain, *others}) == 6


@pytest.mark.slow
def test_the_same_model_exported_again_has_the_same_word() -> None:
    model = new_model(MarianSize(16, (1, 1), 2, 16, 40, 0.1, 20), 40).eval()
    task, words = task_of(model), []
    for each in (model, copy.deepcopy(model)):
        encoder, _ = skeleton_of(each).graphs(each, task, task.prompt(task.random(each)), "masked")
        words.append(content(exported(encoder, encoder.module), "fp32", {}))
    assert words[0] == words[1]


def test_a_file_is_made_once(shelf: Path, tmp_path: Path) -> None:
    made: list[Path] = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_bytes(b"lowered")

    assert not lowered_once("word", tmp_path / "a", make)
    assert lowered_once("word", tmp_path / "b", make) and (tmp_path / "b").read_bytes() == b"lowered"
    assert not lowered_once("other", tmp_path / "c", make) and made == [tmp_path / "a", tmp_path / "c"]
    assert sorted(path.name for path in shelf.iterdir()) == ["other.pte", "word.pte"]


def test_what_was_not_used_for_longest_is_forgotten(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST", 20)
    for number in range(3):
        lowered_once(f"{number}", tmp_path / "out", lambda path: path.write_bytes(b"8 bytes!"))
        os.utime(shelf / f"{number}.pte", (number, number))
    assert lowered_once("1", tmp_path / "out", lambda path: None)  # used again, so 2 is the older one from here on
    lowered_once("3", tmp_path / "out", lambda path: path.write_bytes(b"8 bytes!"))
    assert sorted(path.stem for path in shelf.iterdir()) == ["1", "3"]


def test_where_nothing_can_be_kept_it_is_made_again(shelf: Path, tmp_path: Path) -> None:
    shelf.parent.write_text("no folder")
    assert not lowered_once("word", tmp_path / "a", lambda path: path.write_bytes(b"x"))
    assert (tmp_path / "a").read_bytes() == b"x"
