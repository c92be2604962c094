"""The package coremltools: imported when it is needed, without what it logs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tprune.support.errors import InputError

INSTALL = "pip install 'tprune[coreml]'"


def coremltools() -> Any:
    """The package. Raises `InputError` where it is not installed, or cannot be imported."""
    try:
        with quiet():
            import coremltools as package
    except ImportError as error:
        raise InputError(f"the runtime coreml needs the package coremltools ({error}); {INSTALL}") from None
    return package


@contextmanager
def quiet() -> Iterator[None]:
    """Drops what it logs and warns of: it lacks libraries of macOS here, and was tested with older packages."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
