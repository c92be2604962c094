"""The documentation is true: its Python blocks run, its patterns parse, its links lead somewhere, docstring examples
hold.

A block titled "not run by the tests" is only compiled. One titled "takes a minute", and the page up to it, runs with
the slow tests.
"""

import ast
import doctest
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import pkgutil
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import tprune
from test_house import ROOMS
from tprune import Structure
from tprune.core.known_constraints import CONSTRAINTS
from tprune.core.known_methods import METHODS
from tprune.core.known_realisations import REALISATIONS
from tprune.core.known_tasks import TASKS
from tprune.families.registry import FAMILIES
from tprune.testing import check_structure

ROOT = Path(__file__).parents[1]
NOT_RUN, SLOW = "not run by the tests", "takes a minute"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
TEXTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
BLOCK = re.compile(r"^```python(?P<marks>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
EXTRAS = ("ctranslate2", "executorch", "openvino")  # runtimes that are extras
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
    assert sorted(named) == sorted([NOTEBOOK.name, *(str(page.relative_to(ROOT / "docs")) for page in PAGES)])


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
    prose = re.sub(r"^ *```.*?^ *```$", "", text.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)#]+)", prose):
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
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        pytest.skip(f"{error.name} is not installed")
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


ROW_OF_PAPER = re.compile(r"^\| ([^|]*?) \(((?:19|20)\d\d)\), ([^|]*?) \|", re.MULTILINE)
AUTHORS = re.compile(r"([A-Z][\w'-]+)(?: et al\.|(?:, [A-Z][\w'-]+)* and [A-Z][\w'-]+|, [A-Z]\w+ [a-z]+)")


def first_author(authors: str) -> str:
    return re.split(r"[ ,]", authors)[0]


def plain(text: str) -> str:
    """Letters without accents."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def cited(text: str) -> set[tuple[str, str]]:
    """First author and year of every paper in a list of references in prose."""
    pieces = re.split(r"; |(?<=\d)(?: \([^)]*\))?[.)](?:\s|$)|\n- ", plain(text))
    found = [(AUTHORS.search(piece), re.findall(r"\b(?:19|20)\d\d\b", piece)) for piece in pieces]
    return {(authors[1], years[-1]) for authors, years in found if authors and years}


def references_of(path: Path) -> set[tuple[str, str]]:
    """The papers that a source file cites: its BibTeX, and the `References` of its docstrings."""
    text = path.read_text(encoding="utf-8")
    entries = re.findall(r'"""@\w+\{.*?\n\}"""', text, re.DOTALL)
    found = {
        (first_author(authors[1]), year[1])
        for entry in entries
        if (authors := re.search(r"author = \{([^}]*)\}", entry)) and (year := re.search(r"year = \{(\d+)\}", entry))
    }
    assert len(found) == len(entries), path
    for said in re.findall(r"References:\s(.*?)(?:\n\n|\"\"\")", text, re.DOTALL):
        found |= cited(" ".join(said.split()))
    return found


def test_every_cited_paper_has_a_row() -> None:
    page = plain((ROOT / "docs" / "papers.md").read_text(encoding="utf-8"))
    rows = {(first_author(authors), year) for authors, year, _ in ROW_OF_PAPER.findall(page)}
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    wanted = {paper: path for path in sources for paper in references_of(path)}
    for path in (ROOT / "benchmarks" / "peers" / "methods").glob("*.py"):
        docs = [
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)
        ]
        wanted |= {paper: path for node in docs for paper in cited(" ".join((ast.get_docstring(node) or "").split()))}
    for path in (ROOT / "docs").glob("*.md"):
        listed = path.read_text(encoding="utf-8").partition("## References\n")[2]
        wanted |= dict.fromkeys(cited(re.sub(r"\n  ", " ", f"\n{listed}")), path)
    missing = {paper: str(path.relative_to(ROOT)) for paper, path in wanted.items() if paper not in rows}
    assert not missing
    assert len(wanted) > 25 and {("Yuan", "2006"), ("Kwon", "2022"), ("LeCun", "1990")} <= set(wanted)


def test_papers_in_prose_are_found() -> None:
    text = (
        "Our own; it follows Wang et al., A way, 2021. Kim and Rush, Sequences, 2016 (words). "
        "Wilson, Probable inference, 1927."
    )
    assert cited(text) == {("Wang", "2021"), ("Kim", "2016"), ("Wilson", "1927")}
    assert cited("Our own rescaling; the measure is that of `HoyerSquare`.") == set()


def test_commands_of_papers_exist() -> None:
    page = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    methods = (ROOT / "benchmarks" / "peers" / "methods" / "__init__.py").read_text(encoding="utf-8")
    named = set(re.findall(r"`peers ([a-z0-9-]+)`", page))
    assert named and all(f'"{name}": Method(' in methods for name in named)
    for path in re.findall(r"(?:recipes|benchmarks)/[\w/.-]+\.(?:yaml|py)", page):
        assert (ROOT / path).is_file(), path
    keys = set(re.findall(r"--set (\w+\.\w+)=", page))
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in reference for key in keys)
    for link in re.findall(r"\]\(#([\w-]+)\)", page):
        assert link in {
            re.sub(r"[^\w-]", "", title.lower().replace(" ", "-"))
            for title in re.findall(r"^#+ (.*)$", page, re.MULTILINE)
        }


ROW_OF_WORD = re.compile(r"^\| ([^|]+?) \| ([^|]+?) \| (?:`tprune\.([\w.]+)`)? ?\|$", re.MULTILINE)


def glossary() -> list[tuple[str, str, str]]:
    page = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8").partition("## Glossary\n")[2]
    return [(word, meaning, path) for word, meaning, path in ROW_OF_WORD.findall(page) if word != "word"]


def test_the_glossary_is_in_order_and_names_what_exists() -> None:
    words = [word for word, _, _ in glossary()]
    assert words == sorted(set(words)) and len(words) > 60
    for word, meaning, path in glossary():
        assert not re.search(r"[.!?] ", meaning), f"{word}: expected one sentence"
        if not path or f"tprune.{path}" in MODULES:
            continue
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(f"tprune.{module}"), name), f"{word}: there is no tprune.{path}"


def test_the_glossary_has_the_words_that_are_protocols() -> None:
    named = {path.rpartition(".")[2] for _, _, path in glossary()}
    assert {
        "Method",
        "Constraint",
        "Family",
        "Task",
        "Realisation",
        "Runtime",
        "Row",
        "Table",
        "Session",
        "Signature",
    } <= named
    assert {
        "Structure",
        "View",
        "Role",
        "Coupling",
        "Plan",
        "Budget",
        "Forecast",
        "Evidence",
        "Certificate",
        "Site",
    } <= named


def test_where_things_go_is_the_tree_of_folders() -> None:
    page = (ROOT / "docs" / "where.md").read_text(encoding="utf-8")
    tree = re.findall(r"^( {2,})(\w+)/ +\S", page, re.MULTILINE)
    listed, room = [], ""
    for indent, name in tree:
        room = name if len(indent) == 2 else room
        listed.append(name if len(indent) == 2 else f"{room}/{name}")
    house = ROOT / "src" / "tprune"
    folders = {str(path.parent.relative_to(house)) for path in house.rglob("__init__.py")} - {"."}
    assert sorted(listed) == sorted(folders), "docs/where.md: one line for each folder of src/tprune"
    assert [name for name in listed if "/" not in name] == list(ROOMS)
    named = re.findall(r"`((?:src|tests|benchmarks|recipes|docs|mkdocs)[\w/.]*)`", page)
    assert len(named) > 25 and all((ROOT / path).exists() for path in named)


def test_contributing_names_every_room_in_order() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("| room | holds |")[2]
    rooms = re.findall(r"^\| `(\w+)` \| \S", text, re.MULTILINE)
    assert rooms == list(ROOMS)
