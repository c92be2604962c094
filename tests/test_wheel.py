"""What the wheels hold, as far as their pyproject.toml says it; `make wheel` builds both and uses them."""

import tomllib
from pathlib import Path

import pytest

import tprune

ROOT = Path(__file__).parents[1]
PROJECTS = {"tprune": ROOT, "tprune_runtime": ROOT / "runtime"}
FOUND = {
    package: tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    for package, folder in PROJECTS.items()
}


@pytest.mark.parametrize("package", PROJECTS)
def test_the_version_is_that_of_the_package(package: str) -> None:
    project = FOUND[package]["project"]
    assert project["version"] == tprune.__version__ and project["name"] == package.replace("_", "-")
    assert (PROJECTS[package] / project["readme"]).is_file()
    assert all((PROJECTS[package] / name).read_text(encoding="utf-8") for name in project["license-files"])


def test_every_package_has_its_wheel() -> None:
    assert {path.parent.name for path in (ROOT / "src").glob("*/__init__.py")} == set(PROJECTS)
    assert FOUND["tprune"]["tool"]["setuptools"]["packages"]["find"]["include"] == ["tprune", "tprune.*"]
    assert FOUND["tprune_runtime"]["tool"]["setuptools"]["packages"] == ["tprune_runtime"]


def test_tprune_needs_the_runtime_and_the_runtime_needs_little() -> None:
    needed = {
        package: {each.partition(">=")[0] for each in FOUND[package]["project"]["dependencies"]} for package in FOUND
    }
    assert "tprune-runtime" in needed["tprune"]
    assert needed["tprune_runtime"] == {"numpy", "onnxruntime", "tokenizers"}
    assert needed["tprune_runtime"] < needed["tprune"]


@pytest.mark.parametrize("package", PROJECTS)
def test_every_file_of_the_packages_is_in_the_wheel(package: str) -> None:
    patterns = FOUND[package]["tool"]["setuptools"]["package-data"]
    assert set(patterns) == {package}
    folder = ROOT / "src" / package
    listed = {path for pattern in patterns[package] for path in folder.glob(pattern)}
    others = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert others == listed
    assert {path.parent for path in folder.rglob("*.py")} == {path.parent for path in folder.rglob("__init__.py")}
