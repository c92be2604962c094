"""Benchmarks are a folder for each question, and what the repository says of them is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(page.parent for page in (ROOT / "benchmarks").glob("*/README.md"))
TOLD = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml", "mkdocs.yml", ".ci/run")),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "docs").rglob("*.py"),
    *(ROOT / "docs").rglob("*.ipynb"),
    *(ROOT / "src").rglob("*.py"),
    *(ROOT / "recipes").rglob("*.md"),
    *(ROOT / "benchmarks").rglob("*.md"),
    *(ROOT / "benchmarks").rglob("*.py"),
]
WRITTEN_LATER = re.compile(r"\.kept$")  # a run writes it beside its numbers
OF_THEIR_TIME = {"benchmarks/one_shot.py"}  # an example of a command that was stored before scripts moved


def test_every_named_path_and_module_exists() -> None:
    named = 0
    for file in TOLD:
        text = file.read_text(encoding="utf-8")
        paths = {path.rstrip("./") for path in re.findall(r"benchmarks/[\w./-]+", text)} - OF_THEIR_TIME
        paths |= {f"{name.replace('.', '/')}.py" for name in re.findall(r"-m (benchmarks(?:\.\w+)+)", text)}
        missing = [path for path in paths if not (ROOT / path).exists() and not WRITTEN_LATER.search(path)]
        assert not missing, f"{file.relative_to(ROOT)} names {missing}"
        named += len(paths)
    assert named > 60


def test_every_question_has_its_folder_and_its_row() -> None:
    index = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    questions = {path.name for path in (ROOT / "benchmarks").iterdir() if (path / "run.py").exists()}
    assert {folder.name for folder in FOLDERS} == questions and len(questions) > 8
    for folder in FOLDERS:
        title = (folder / "README.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        assert f"| [{folder.name}]({folder.name}/README.md) | {title} |" in index


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_readme_names_the_results_with_commit_and_machine(folder: Path) -> None:
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert all(part in page for part in ("**Question.**", "```sh", "**Answer.**", "**Results.**"))
    results = sorted(folder.glob("*.json"))
    assert results or "`src/tprune/runtimes/certified.json`" in page
    for file in results:
        assert f"`{file.name}`" in page
        data = json.loads(file.read_text(encoding="utf-8"))
        if "commit" in data:
            stored = " ".join(page.split()).partition(f"`{file.name}`; stored 20")[2]
            cpu, cores = data["machine"]["cpu"], data["machine"]["cores"]
            said = re.escape(f"source at {data['commit']}, {cpu}, {cores} cores")
            assert re.match(rf"\d\d-\d\d-\d\d, {said}", stored)
