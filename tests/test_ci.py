"""`.ci/run` on a machine without Chromium: installed by root, else one line."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import browser

SCRIPT = Path(__file__).parents[1] / ".ci" / "run"
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="no bash")


def ci(folder: Path, user: int, **fake: str) -> "subprocess.CompletedProcess[str]":
    """Runs `.ci/run` where there are only the given commands; `git` ends it, after the check."""
    commands = {"id": f"echo {user}", "git": "echo cloning; exit 7", "rm": "exit 0", "mktemp": "echo none", **fake}
    for name, text in commands.items():
        (folder / name).write_text(f"#!{BASH}\n{text}\n")
        (folder / name).chmod(0o755)
    (folder / "dirname").symlink_to(str(shutil.which("dirname")))
    environment = {"PATH": str(folder), "HERE": str(folder)}
    return subprocess.run([str(BASH), str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=60)


def test_without_chromium_it_fails_with_one_line(tmp_path: Path) -> None:
    for i, (user, fake) in enumerate(((1000, {"apt-get": "exit 0"}), (0, {"apt-get": "exit 100"}), (0, {}))):
        folder = tmp_path / str(i)
        folder.mkdir()
        done = ci(folder, user, **fake)
        assert done.returncode == 1 and "cloning" not in done.stdout
        assert done.stderr.count("\n") == 1 and "Chromium is missing" in done.stderr


def test_root_installs_it(tmp_path: Path) -> None:
    done = ci(tmp_path, 0, **{"apt-get": 'echo "$*" >> "$HERE/asked"'})
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["update -qq", "install -y -qq --no-install-recommends chromium"]
    assert done.returncode == 7 and "cloning" in done.stdout  # it goes on


@pytest.mark.parametrize("name", ["chromium", "chromium-browser", "google-chrome"])
def test_a_chromium_that_is_there_is_enough(tmp_path: Path, name: str) -> None:
    done = ci(tmp_path, 1000, **{name: "exit 0"})
    assert done.returncode == 7 and not done.stderr


def test_the_script_is_executable_and_says_that_it_is_ci() -> None:
    assert os.access(SCRIPT, os.X_OK) and "export TPRUNE_CI=1" in SCRIPT.read_text(encoding="utf-8")


def test_where_chromium_is_missing_pages_are_not_measured_but_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "CHROMIUM", None)
    with pytest.raises(AssertionError, match="no Chromium is installed"):
        browser.browse(tmp_path / "page.html")
