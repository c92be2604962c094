"""Replacing folders through links, and after a process was killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tprune.support.errors import InputError
from tprune.support.files import atomic_directory, landing, openable, read_json, write_json


def put(out: Path, text: str) -> None:
    with atomic_directory(out) as work:
        (work / "file").write_text(text)


def inside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def dead() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def half_done(out: Path, old: str | None, new: str | None) -> None:
    """As a killed process leaves it."""
    owner = dead()
    for kind, text in (("old", old), ("new", new)):
        if text is not None:
            (folder := out.with_name(f".{out.name}.{owner}.{kind}")).mkdir()
            (folder / "file").write_text(text)


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    put(tmp_path / "disk" / "m", "old")
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to("disk/m")
    put(tmp_path / "first", "new")
    assert (tmp_path / "first").is_symlink() and (tmp_path / "second").is_symlink()
    assert (tmp_path / "disk" / "m" / "file").read_text() == "new"
    assert inside(tmp_path) == ["disk", "first", "second"] and inside(tmp_path / "disk") == ["m"]


def test_a_dangling_link_is_written_where_it_leads_if_that_can_be(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk/m")
    put(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "m" / "file").read_text() == "new"
    (tmp_path / "away").symlink_to("not-mounted/m")
    with pytest.raises(InputError, match=r"away: a link to .*not-mounted/m, but there is no folder"):
        put(tmp_path / "away", "new")
    assert inside(tmp_path) == ["away", "disk", "link"]


def test_a_circle_of_links_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InputError, match="links in a circle"):
        put(tmp_path / "a", "new")
    assert landing(tmp_path / "c" / "d") == (tmp_path / "c" / "d").resolve()  # new folders are no links


def test_what_was_moved_aside_comes_back_if_its_successor_waits(tmp_path: Path) -> None:
    half_done(tmp_path / "m", "old", "half of the new")
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "m"):
        assert (tmp_path / "m" / "file").read_text() == "old"
        raise RuntimeError
    assert (tmp_path / "m" / "file").read_text() == "old"
    put(tmp_path / "m", "newest")
    assert inside(tmp_path) == ["m"] and (tmp_path / "m" / "file").read_text() == "newest"


def test_what_the_user_deleted_does_not_come_back(tmp_path: Path) -> None:
    half_done(tmp_path / "m", "was replaced", None)  # killed after the new one was there, which the user then deleted
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "m"):
        raise RuntimeError
    assert not (tmp_path / "m").exists()
    put(tmp_path / "m", "new")
    assert inside(tmp_path) == ["m"] and (tmp_path / "m" / "file").read_text() == "new"


def test_what_others_have_beside_it_stays(tmp_path: Path) -> None:
    half_done(tmp_path / "m.1", "another folder's", "another folder's")
    (tmp_path / f".m.{os.getppid()}.new").mkdir()  # of a process that lives
    (tmp_path / ".m.notes.old").mkdir()
    before = inside(tmp_path)
    put(tmp_path / "m", "new")
    assert inside(tmp_path) == sorted([*before, "m"])


def test_json_through_a_link_and_with_any_name_in_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.json").symlink_to("real/file.json")
    name = os.fsdecode(b"m\xff\xe9")
    write_json(tmp_path / "link.json", {"model": name, "ö": 1})
    assert (tmp_path / "link.json").is_symlink() and inside(tmp_path / "real") == ["file.json"]
    assert read_json(tmp_path / "real" / "file.json") == {"model": name, "ö": 1}


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"m\xff")
    odd.mkdir()
    (odd / "file").write_text("found")
    name = openable(str(odd))
    name.encode("utf-8")
    assert Path(name, "file").read_text() == "found" and openable(str(tmp_path)) == str(tmp_path)
    with pytest.raises(InputError, match="not UTF-8"):
        put(odd, "new")
    assert (odd / "file").read_text() == "found"
