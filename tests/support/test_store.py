"""Finished pieces of work: which are there, what they were made from, and that none is there by half."""

from __future__ import annotations

from pathlib import Path

import pytest

from tprune.support.errors import InputError
from tprune.support.files import atomic_directory
from tprune.support.store import IDENTITY, Form, Store, check_identity


def test_a_piece_is_done_once_it_is_put(tmp_path: Path) -> None:
    store = Store[object](tmp_path / "done")
    assert store.names() == [] and store.missing("ba") == ["b", "a"]
    store.put("a", {"x": (1, 2)})
    assert store.done("a") and not store.done("b") and store.missing("ba") == ["b"]
    assert store.get("a") == {"x": [1, 2]} and store.names() == ["a"] and Store(tmp_path / "done").done("a")
    assert store.path("a") == tmp_path / "done" / "a.json"


def test_a_piece_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    store = Store[object](tmp_path)
    store.put("a", 1)
    with pytest.raises(TypeError):
        store.put("a", {"x": object()})
    with pytest.raises(TypeError):
        store.put("b", object())
    assert store.get("a") == 1 and not store.done("b") and store.names() == ["a"]


def test_what_is_not_there_or_damaged_is_named(tmp_path: Path) -> None:
    store = Store[object](tmp_path)
    (tmp_path / "a.json").write_text("{")
    for name in "ab":
        with pytest.raises(InputError, match=rf"{name}\.json"):
            store.get(name)


def test_pieces_may_be_folders(tmp_path: Path) -> None:
    def write(folder: Path, text: str) -> None:
        with atomic_directory(folder) as fresh:
            (fresh / "text").write_text(text)
            if text == "bad":
                raise OSError("the disk is full")

    store = Store(tmp_path, Form("", lambda folder: (folder / "text").read_text(), write))
    store.put("round-1", "first")
    with pytest.raises(OSError, match="full"):
        store.put("round-2", "bad")
    assert store.get("round-1") == "first" and store.missing(["round-1", "round-2"]) == ["round-2"]


def test_work_goes_on_only_with_what_it_was_made_from(tmp_path: Path) -> None:
    Store.made_from(tmp_path / "new", {"seed": 0, "sizes": (1, 2)}).put("a", 1)
    assert Store.made_from(tmp_path / "new", {"seed": 0, "sizes": [1, 2]}).done("a")
    with pytest.raises(InputError, match=r"another sizes \(\[1, 2\], now \[1\]\); choose another folder"):
        Store.made_from(tmp_path / "new", {"seed": 0, "sizes": [1]})
    with pytest.raises(InputError, match=r"another beams \(None, now 4\)"):
        check_identity(tmp_path / "new", {"seed": 0, "beams": 4})
    assert (tmp_path / "new" / IDENTITY).name == "made-from.json"
