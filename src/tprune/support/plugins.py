"""Code of others: modules that a user names, for the methods, families, tasks and runtimes that they enter.

And code that models bring.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from tprune.support.errors import InputError

NAMES = "TPRUNE_PLUGINS"  # for the processes that this one starts
_TRUSTED: ContextVar[bool] = ContextVar("trusted", default=False)


@contextmanager
def trusting(models: bool = True) -> Iterator[None]:
    """Inside, whatever loads a model may run the code that comes with it."""
    before = _TRUSTED.set(models)
    try:
        yield
    finally:
        _TRUSTED.reset(before)


def trusted() -> bool:
    """Whether code that comes with a model may be run: only inside `trusting`.

    Example:
        >>> with trusting():
        ...     inside = trusted()
        >>> inside, trusted()
        (True, False)
    """
    return _TRUSTED.get()


def import_plugins(names: Sequence[str]) -> None:
    """Imports modules, those beside the working directory too, and lets the processes started from here do the same.

    A name that ends with `.py` is a file.

    Raises:
        InputError: a name that is none of a module, or a module that cannot be imported.
    """
    names = [str(Path(name).resolve()) if name.endswith(".py") else name for name in names]
    for name in names:
        if name.endswith(".py"):
            _import_file(Path(name))
            continue
        if not all(part.isidentifier() for part in name.split(".")):
            raise InputError(f"--plugin {name}: expected the name of a module, as in an import, or a .py file")
        sys.path.insert(0, str(Path.cwd()))  # a module beside the data, as `python -m` would find it
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # whatever a stranger's module raises
            raise InputError(
                f"--plugin {name}: cannot be imported ({type(error).__name__}: {' '.join(str(error).split())}); "
                "expected an importable module"
            ) from error
        finally:
            sys.path.pop(0)
    if names:
        os.environ[NAMES] = ",".join(names)


def _import_file(path: Path) -> None:
    """Imports a file under its own name, unless it is already. Raises `InputError` where it cannot be."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if (wrong := _wrong_file(path)) or spec is None or spec.loader is None:
        raise InputError(f"--plugin {path}: {wrong or 'expected a Python file'}")
    if path.stem in sys.modules:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a stranger's file raises
        del sys.modules[path.stem]
        raise InputError(
            f"--plugin {path}: cannot be imported ({type(error).__name__}: {' '.join(str(error).split())}); "
            "expected an importable module"
        ) from error


def _wrong_file(path: Path) -> str:
    """Why a file cannot be imported under its own name; empty where it can."""
    if not path.is_file():
        return "there is no such file"
    if not path.stem.isidentifier():
        return f"{path.stem!r} is no name of a module; expected letters, digits and _"
    if "," in str(path):
        return "its path has a comma, by which plugins are told apart; rename it"
    if other := _other_module(path):
        return f"there is another module {path.stem!r} ({other}), which it would replace; rename it"
    return ""


def _other_module(path: Path) -> str:
    """Where a module lies that is called like a file, and is another; empty where there is none."""
    try:
        known = importlib.util.find_spec(path.stem)
    except ValueError:  # a module that was made by hand
        return "already imported"
    if known is None or (known.origin is None and path.stem not in sys.modules):  # a folder without code
        return ""
    return "" if known.origin is not None and Path(known.origin).resolve() == path else known.origin or "a package"


def import_named() -> None:
    """What the process that started this one imported. Raises as `import_plugins`."""
    import_plugins([name for name in os.environ.get(NAMES, "").split(",") if name])
