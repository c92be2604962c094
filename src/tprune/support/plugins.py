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
    """Imports a file under its own name. Raises `InputError` where there is none, or its code fails."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or not path.stem.isidentifier() or "," in str(path) or spec is None or spec.loader is None:
        raise InputError(f"--plugin {path}: expected a Python file whose name is that of a module")
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


def import_named() -> None:
    """What the process that started this one imported. Raises as `import_plugins`."""
    import_plugins([name for name in os.environ.get(NAMES, "").split(",") if name])
