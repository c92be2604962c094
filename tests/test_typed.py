"""Type checkers see what the public names are: no `Any` stands for something that has a type."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tprune

ROOT = Path(__file__).parents[1]
# numpy's shapes, Python's own slices, and functions of whatever arguments
HARMLESS = re.compile(r"tuple\[Any, \.\.\.\]|slice\[Any, Any, Any\]|\(\*Any, \*\*Any\)")
FOREIGN = {"model_config", "model_fields", "model_computed_fields"}  # pydantic's


def expressions() -> Iterator[str]:
    """Every public name, and every public attribute of its class."""
    for name in tprune.__all__:
        found = getattr(tprune, name)
        yield f"tprune.{name}"
        if inspect.isclass(found):
            for attribute in vars(found):
                if not attribute.startswith("_") and attribute not in FOREIGN:
                    yield f"tprune.{name}.{attribute}"


def revealed(code: str, folder: Path) -> list[str]:
    """What mypy says of `reveal_type` in each line."""
    api = pytest.importorskip("mypy.api")
    (folder / "asked.py").write_text(code, encoding="utf-8")
    said, errors, _ = api.run(["--config-file", str(ROOT / "pyproject.toml"), str(folder / "asked.py")])
    assert not errors, errors
    return [line for line in said.splitlines() if "asked.py:" in line]


@pytest.mark.slow
def test_mypy_sees_no_any_in_the_public_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    asked = list(expressions())
    said = revealed("import tprune\n" + "".join(f"reveal_type({one})\n" for one in asked), tmp_path)
    assert len(said) == len(asked) > 100
    for one, line in zip(asked, said, strict=True):
        assert "note: Revealed type" in line and not re.search(r"\bAny\b", HARMLESS.sub("", line)), f"{one}: {line}"
    wrong = revealed("import tprune\ntprune.shrink(1, 2, nonsense=4)\n", tmp_path)
    assert any("error" in line for line in wrong)  # and so a mistake of the caller
