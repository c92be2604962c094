"""The order of the rooms: imports go down only, and nothing lies beside the rooms."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tprune

HOUSE = Path(tprune.__file__).parent
ROOMS = (
    "support",
    "core",
    "methods",
    "families",
    "realise",
    "scores",
    "data",
    "tasks",
    "counting",
    "vocabulary",
    "runtimes",
    "bench",
    "train",
    "analysis",
    "costs",
    "budget",
    "recipe",
    "report",
    "run",
    "testing",
    "propose",
    "cli",
    "experimental",
)
DEVICE = HOUSE.parent / "tprune_runtime"
MODULES = sorted(path for path in HOUSE.rglob("*.py") if path.parent != HOUSE)


def imported(source: str) -> Iterator[str]:
    """The rooms that a module takes something from, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module == "tprune":
            names = [f"tprune.{name.name}" for name in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("tprune."))


def upward(room: str, source: str) -> list[str]:
    return [other for other in imported(source) if other in ROOMS and ROOMS.index(other) > ROOMS.index(room)]


def test_only_rooms_lie_in_the_house() -> None:
    files = {path.name for path in HOUSE.iterdir() if path.is_file()}
    assert files == {"__init__.py", "__main__.py", "py.typed"}
    rooms = {path.name for path in HOUSE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == set(ROOMS)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(HOUSE).with_suffix("")))
def test_imports_go_down(module: Path) -> None:
    room = module.relative_to(HOUSE).parts[0]
    assert not upward(room, module.read_text(encoding="utf-8"))


def test_an_import_that_goes_up_is_seen() -> None:
    assert upward("core", "def f():\n    from tprune.methods.group_lasso import GroupLasso\n") == ["methods"]
    assert upward("budget", "import tprune.recipe.schema\n") == ["recipe"]
    assert upward("core", "from tprune import run\n") == ["run"]
    assert not upward("run", "from tprune.core.plan import Plan\nimport torch\n")


def test_every_room_says_what_is_in_it() -> None:
    for room in ROOMS:
        assert ast.get_docstring(ast.parse((HOUSE / room / "__init__.py").read_text(encoding="utf-8"))), room


def modules_in(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


def test_what_goes_to_devices_is_small_and_needs_few_packages() -> None:
    allowed = {*sys.stdlib_module_names, "numpy", "onnxruntime", "tokenizers", "sentencepiece", "tprune_runtime"}
    files = sorted(DEVICE.rglob("*.py"))
    for path in files:
        assert {name.partition(".")[0] for name in modules_in(path)} <= allowed, path
    lines = sum(bool(line.strip()) for path in files for line in path.read_text(encoding="utf-8").splitlines())
    assert 100 < lines <= 1700


def test_checking_a_bundle_needs_two_packages() -> None:
    checked, left = set[str](), {"tprune_runtime.check"}
    while left:
        name = left.pop()
        checked.add(name)
        found = modules_in(DEVICE / f"{name.removeprefix('tprune_runtime.')}.py")
        assert {each.partition(".")[0] for each in found} & {"tokenizers", "sentencepiece"} == set(), name
        left |= {each for each in found if each.startswith("tprune_runtime.")} - checked
    assert {"tprune_runtime.replay", "tprune_runtime.errors"} < checked
