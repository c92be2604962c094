"""Plugins that are files: what is wrong with one is said, and no other module is replaced."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tprune.support.errors import InputError
from tprune.support.plugins import import_plugins


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TPRUNE_PLUGINS", "")
    yield
    for name in ("a_file_of_mine", "a_broken_file"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.py", "there is no such file"),
        ("my-file.py", "'my-file' is no name of a module; expected letters, digits and _"),
        ("a,b/mine.py", "its path has a comma"),
        ("json.py", r"there is another module 'json' \(.*json.__init__\.py\), which it would replace; rename it"),
        ("colorsys.py", "there is another module 'colorsys'"),  # whether or not it is imported by now
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, says: str) -> None:
    if name != "missing.py":
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError\n")
    with pytest.raises(InputError, match=says):
        import_plugins([str(tmp_path / name)])
    assert sys.modules["json"] is json and json.loads("1") == 1


def test_a_file_is_imported_once_and_one_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a_file_of_mine.py").write_text("RUNS = []\nRUNS.append(1)\n")
    (tmp_path / "a_broken_file.py").write_text("1 / 0\n")
    for _ in range(2):
        import_plugins([str(tmp_path / "a_file_of_mine.py")])
    assert sys.modules["a_file_of_mine"].RUNS == [1]
    with pytest.raises(InputError, match=r"a_broken_file\.py: cannot be imported \(ZeroDivisionError"):
        import_plugins([str(tmp_path / "a_broken_file.py")])
    assert "a_broken_file" not in sys.modules
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a_file_of_mine.py").write_text("")
    with pytest.raises(InputError, match=r"there is another module 'a_file_of_mine' \(.*\), which it would replace"):
        import_plugins([str(tmp_path / "other" / "a_file_of_mine.py")])
