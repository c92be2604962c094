"""The package openvino: imported when it is needed, without its reports to its makers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tprune.support.errors import InputError

INSTALL = "pip install 'tprune[openvino]'"
REPORTS = "openvino_telemetry"  # what it sends an event with at every import; without it, it has a stub of its own


def openvino() -> Any:
    """The package. Raises `InputError` where it is not installed, or is so old or broken that it cannot be imported."""
    try:
        with _without(REPORTS):
            import openvino as package
    except ImportError as error:
        raise InputError(f"the runtime openvino needs the package openvino ({error}); {INSTALL}") from None
    return package


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Inside the block, a module cannot be imported, unless it is already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # None stops an import
    try:
        yield
    finally:
        del sys.modules[name]
