"""Plugins are imported by a worker only where running its folder needs them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tprune.bench import worker

OURS = {"runtime": "onnxruntime", "phases": ("pass",)}


@pytest.mark.parametrize(
    ("layout", "needed"), [(OURS, False), (OURS | {"runtime": "theirs"}, True), (OURS | {"phases": ("frame",)}, True)]
)
def test_which_folders_need_plugins(layout: dict[str, Any], needed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[bool] = []
    monkeypatch.setenv("TPRUNE_PLUGINS", "some_module")
    monkeypatch.setattr(worker, "read_layout", lambda _: SimpleNamespace(**layout))
    monkeypatch.setattr(worker, "import_named", lambda: imported.append(True))
    assert worker.main([str(Path("absent")), "1", ""]) != 0  # it goes on, and finds no such folder
    assert imported == [True] * needed
