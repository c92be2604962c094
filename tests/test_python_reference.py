"""The Python reference is whole: every public name stands on it, and its docstring says what a caller has to know."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import tprune

DOCS = Path(__file__).parents[1] / "docs"


def made(name: str = "make_python_reference") -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


REFERENCE = made()
NAMES = REFERENCE.public_names()


def lacks(node: ast.ClassDef | ast.FunctionDef, doc: str) -> list[str]:
    """What a docstring leaves out: its first line, a parameter, an error that the body raises.

    Or what it says of no parameter.
    """
    first, _, rest = doc.partition("\n")
    found = [] if first.endswith((".", ":")) and (not rest or rest.startswith("\n")) else ["a one-line summary"]
    parts = dict(REFERENCE.sections(doc))
    told = [parts, *(dict(REFERENCE.sections(ast.get_docstring(base) or "")) for base in REFERENCE.ancestors(node))]
    text = "\n".join(each.get(name, "") for each in told for name in ("Args", "Attributes"))
    said = {name.strip(" *") for names, _ in REFERENCE.items(text) for name in names.split(",")}
    given = REFERENCE.parameters(node)
    found += [f"parameter {name}" for name, _ in given or [] if name and name not in said]
    if given is not None and "Args" in parts and (odd := said - {name for name, _ in given}):
        found += [f"no parameter is called {name}" for name in sorted(odd)]
    raised = {name for name in raises(node) if not re.search(rf"Raises:?(.|\n)*\b{name}\b", doc)}
    return found + [f"raises {name}" for name in sorted(raised)]


def raises(node: ast.ClassDef | ast.FunctionDef) -> set[str]:
    """The errors of users that a function, or a class where it is made, raises itself."""
    if isinstance(node, ast.ClassDef):
        makers = [each for each in node.body if getattr(each, "name", "") in ("__init__", "__post_init__")]
        return {name for each in makers if isinstance(each, ast.FunctionDef) for name in raises(each)}
    thrown = [each.exc for each in ast.walk(node) if isinstance(each, ast.Raise) and isinstance(each.exc, ast.Call)]
    return {found for call in thrown if (found := ast.unparse(call.func)) in ("InputError", "UnreachableError")}


@pytest.mark.parametrize("public", NAMES, ids=lambda each: f"{each.source}.{each.name}")
def test_docstrings_are_whole(public: object) -> None:
    assert isinstance(public, REFERENCE.Public)
    assert not lacks(public.node, public.doc), f"{public.source}.{public.name}"
    members = [each for each in public.node.body if isinstance(each, ast.FunctionDef) and each.name[0] != "_"]
    for each in members if isinstance(public.node, ast.ClassDef) else ():
        doc = ast.get_docstring(each) or ""
        assert doc.partition("\n")[0].endswith((".", ":")), f"{public.name}.{each.name} says nothing"
        raised = {name for name in raises(each) if not re.search(rf"Raises:?(.|\n)*\b{name}\b", doc)}
        assert not raised, f"{public.name}.{each.name} does not say that it raises {raised}"


def test_what_a_docstring_lacks_is_seen() -> None:
    said = "'''Says.\n\n    Args:\n        a: one.\n        c: none.\n    '''"
    source = f"def f(a, b=1):\n    {said}\n    raise InputError('no')\n"
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    doc = ast.get_docstring(node) or ""
    assert lacks(node, doc) == ["parameter b", "no parameter is called c", "raises InputError"]
    assert "a one-line summary" in lacks(node, "no end\nof the line")
    whole = "Says.\n\nArgs:\n    a: one.\n    b: two,\n        and more.\n\nRaises:\n    InputError: always."
    assert not lacks(node, whole)


def test_every_public_name_is_on_the_page() -> None:
    text = REFERENCE.PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    assert set(tprune.__all__) <= set(headings)
    assert len(headings) == len(NAMES)
    from tprune import testing

    assert {name for name in testing.__all__ if name.startswith("check_")} <= set(headings)
    for protocol in ("Method", "Constraint", "Task", "Family", "Realisation", "Runtime", "Row", "Table", "Registry"):
        assert protocol in headings


def test_the_page_is_made_from_the_code() -> None:
    assert REFERENCE.PAGE.read_text(encoding="utf-8") == REFERENCE.page()
