"""The package executorch: imported when it is needed, without what its libraries write to standard error."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tprune.support.errors import InputError

INSTALL = "pip install 'tprune[executorch]'"
RUNS = "executorch.extension.pybindings.portable_lib"  # what runs files; what makes them lies beside it
LOGGERS = ("torch.export", "torchao", "executorch", "torch.utils._pytree", RUNS)


def module(name: str) -> Any:
    """A module of executorch, or of torchao, which comes with it.

    Raises:
        InputError: it is not installed, or is so old or broken that it cannot be imported.
    """
    try:
        with quiet():
            return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise InputError(f"the runtime executorch needs the package executorch ({error}); {INSTALL}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Drops what the libraries log of other backends and of interfaces that may change; errors are raised."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
