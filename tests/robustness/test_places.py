"""Odd places to run in: an ASCII locale, names with spaces and umlauts, a full disk, one that may only be read."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from small_pairs import PAIRS
from small_run import finish, log_of, prepare, start
from tprune.data.parallel import Parallel

pytestmark = pytest.mark.slow
ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "", "PYTHONUTF8": ""}


def test_an_ascii_locale_and_names_beyond_it(tmp_path: Path) -> None:
    folder = tmp_path / "Läufe und \u2603 mehr"
    folder.mkdir()
    pairs = Parallel(PAIRS.source, tuple(f"{line} für Öl" for line in PAIRS.target))
    prepare(folder, pairs)
    assert start(folder, folder / "ein Lauf", **ASCII).wait(900) == 0, log_of(folder)
    assert "Traceback" not in log_of(folder)
    said = json.loads((folder / "ein Lauf" / "translations.json").read_text(encoding="utf-8"))
    assert "für Öl" in json.dumps(said, ensure_ascii=False)
    assert "für Öl" in (folder / "ein Lauf" / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 KB."""
    place = tmp_path / "disk"
    place.mkdir()
    if mount(place, "size=200k"):
        pytest.skip("mounting a small disk is not permitted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def mount(place: Path, options: str) -> int:
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True).returncode


def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(tmp_path: Path, disk: Path) -> None:
    prepare(tmp_path)
    assert start(tmp_path, disk / "run").wait(900) == 1
    assert "Traceback" not in log_of(tmp_path) and "space" in log_of(tmp_path).splitlines()[-1]
    assert mount(disk, "remount,size=100m") == 0
    finish(tmp_path, disk / "run")
    assert (disk / "run" / "report.html").exists()


def test_a_disk_that_may_only_be_read_is_said_at_once(tmp_path: Path, disk: Path) -> None:
    prepare(tmp_path)
    assert mount(disk, "remount,ro") == 0
    assert start(tmp_path, disk / "run").wait(300) == 1
    last = log_of(tmp_path).splitlines()[-1]
    assert "cannot be written" in last and "ead-only" in last and "Traceback" not in log_of(tmp_path)
