"""What a wheel holds, as far as pyproject.toml says it; `make wheel` builds one and uses it."""

import tomllib
from pathlib import Path

import tprune

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_is_that_of_the_package() -> None:
    assert PROJECT["project"]["version"] == tprune.__version__
    assert (ROOT / PROJECT["project"]["readme"]).is_file()
    assert all((ROOT / name).is_file() for name in PROJECT["project"]["license-files"])


def test_every_file_of_the_packages_is_in_the_wheel() -> None:
    data = PROJECT["tool"]["setuptools"]["package-data"]
    packages = {path.parent.name for path in (ROOT / "src").glob("*/__init__.py")}
    assert packages == {"tprune", "tprune_runtime"} == set(data)
    for package in packages:
        folder = ROOT / "src" / package
        listed = {path for pattern in data[package] for path in folder.glob(pattern)}
        others = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        assert others == listed
        assert {path.parent for path in folder.rglob("*.py")} == {path.parent for path in folder.rglob("__init__.py")}
