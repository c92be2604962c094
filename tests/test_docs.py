"""The documentation is true: its Python blocks run, its patterns parse, its links lead somewhere, docstring examples hold.

A block titled "not run by the tests" is only compiled. One titled "takes a minute", and the page up to it, runs with the slow tests.
"""

import doctest
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import tprune
from tprune import Structure
from tprune.core.known_constraints import CONSTRAINTS
from tprune.core.known_methods import METHODS
from tprune.core.known_realisations import REALISATIONS
from tprune.core.known_tasks import TASKS
from tprune.families.registry import FAMILIES
from tprune.testing import check_structure

ROOT = Path(__file__).parents[1]
NOT_RUN, SLOW = "not run by the tests", "takes a minute"
PAGES = sorted((ROOT / "docs").glob("*.md"))
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
TEXTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
BLOCK = re.compile(r"^```python(?P<marks>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
MODULES = sorted(module.name for module in pkgutil.walk_packages(tprune.__path__, "tprune."))


def blocks(page: Path) -> Iterator[tuple[set[str], Any]]:
    """The marks and the compiled code of every Python block; line numbers are the page's."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        above = "\n" * text.count("\n", 0, found.start("code"))
        code = compile(above + found["code"], str(page), "exec", dont_inherit=True)
        yield set(re.findall(r'title="([^"]*)"', found["marks"])), code


def pages() -> Iterator[Any]:
    for page in PAGES:
        marks = [marks for marks, _ in blocks(page)]
        assert {mark for found in marks for mark in found} <= {NOT_RUN, SLOW}, f"{page}: unknown mark"
        if any(not found for found in marks):
            yield pytest.param(page, {NOT_RUN, SLOW}, id=page.stem)
        if any(SLOW in found for found in marks):
            yield pytest.param(page, {NOT_RUN}, id=f"{page.stem}-slow", marks=pytest.mark.slow)


@pytest.mark.parametrize(("page", "skipped"), list(pages()))
def test_blocks_of_a_page_run(page: Path, skipped: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    for registry in (METHODS, CONSTRAINTS, REALISATIONS, TASKS, FAMILIES):  # a page may add to these
        monkeypatch.setattr(registry, "entered", {})
    namespace: dict[str, Any] = {"__name__": f"docs_{page.stem}"}
    for marks, code in blocks(page):
        if not marks & skipped:
            exec(code, namespace)


def test_every_page_is_in_the_site() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = [page for part in nav for page in ([part] if isinstance(part, str) else next(iter(part.values())))]
    assert sorted(named) == sorted([NOTEBOOK.name, *(page.name for page in PAGES)])


def test_the_notebook_was_run_from_top_to_bottom() -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert len(outputs) >= len(cells) - 1 and not any(output["output_type"] == "error" for output in outputs)
    text = json.dumps(outputs)
    assert "/tmp" not in text and "/home" not in text and "image/png" in text


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All cells, with few steps: that the calls are right, not what they give."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    pytest.importorskip("matplotlib")
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    less = {"train=16000": "train=300", "test=150": "test=12", "rounds=24": "rounds=4", "sentences=20": "sentences=2"}
    short = re.sub(r"steps=[1-9]\d+", "steps=4", code)
    for much, little in less.items():
        assert much in short
        short = short.replace(much, little)
    assert short.count("steps=4") == 3
    exec(compile(short, str(NOTEBOOK), "exec", dont_inherit=True), {"__name__": "notebook"})


def test_pages_are_found() -> None:
    assert {"quickstart", "concepts", "methods", "families", "runtimes", "add-your-own", "limits"} <= {
        page.stem for page in PAGES
    }


def patterns() -> list[str]:
    rows = [
        line for line in (ROOT / "docs/concepts.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")
    ]
    return [cell for row in rows for cell in re.findall(r"`([^`]*->[^`]*)`", row)]


def test_the_table_of_patterns_is_found() -> None:
    assert len(patterns()) >= 20


@pytest.mark.parametrize("pattern", patterns())
def test_patterns_of_the_table_work(pattern: str) -> None:
    axes = [axis.strip("()").split() for axis in re.findall(r"\([^)]*\)|\w+", pattern.partition("->")[0])]
    inner = {name: 2 for axis in axes for name in axis[1:]}
    shape = tuple(3 * 2 ** (len(axis) - 1) for axis in axes)
    check_structure(Structure(pattern, inner), shape)


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_links_lead_to_files(text: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", text.read_text(encoding="utf-8")):
        assert "://" in link or (text.parent / link).exists(), f"{text}: {link}"


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == tprune.__version__
    assert f"## [{tprune.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


class Finder(doctest.DocTestFinder):
    """Finds functions by the module they name: those wrapped for type checks have the globals of their wrapper."""

    def _from_module(self, module: ModuleType | None, object: Any) -> bool:
        if inspect.isfunction(object):
            return module is not None and object.__module__ == module.__name__
        found: bool = super()._from_module(module, object)  # type: ignore[misc]
        return found


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    tests = [test for test in Finder().find(module, name) if test.examples]
    written = len(re.findall(r"^\s*>>> ", inspect.getsource(module), re.MULTILINE))
    assert sum(len(test.examples) for test in tests) == written, f"{name}: examples that nothing runs"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert sum(runner.run(test).failed for test in tests) == 0


def test_the_reference_is_made_from_the_code() -> None:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == made.reference()
    lines = [line for line in made.reference().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert not lines, f"nothing is said about {lines[:3]}"
