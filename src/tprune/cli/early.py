"""Whether a model can be exported, by its configuration alone, and what was asked for is installed: said at once."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tprune.core.precision import Precision
from tprune.realise.model_files import CONFIG, content
from tprune.runtimes.possible import builds_of, check_supported
from tprune.runtimes.runtime import check_runs, runtime_named
from tprune.support.errors import InputError


def check_export(model: str, runtime: str, precision: Precision) -> None:
    """Whether a runtime runs such models in a precision, and is installed.

    Args:
        model: a checkpoint's folder, or a hub id, of which nothing is known yet.
        runtime: its name.
        precision: that the exported model would compute in.

    Raises:
        InputError: it does not, or it is not installed.
    """
    file = Path(model, CONFIG)
    check_supported(runtime_named(runtime), precision, builds_of(content(file) if file.is_file() else {}), model)


def check_used(model: str, runtime: str, precision: Precision) -> None:
    """As `check_export`, for a model whose export is timed or scored here.

    Raises:
        InputError: likewise, or the runtime's files run on other systems alone.
    """
    check_runs(runtime_named(runtime))
    check_export(model, runtime, precision)


def check_tracker(name: str) -> None:
    """Raises `InputError` where a tracker is asked for whose package is not installed."""
    if find_spec(name) is None:
        raise InputError(f"--tracker {name}: {name} is not installed; pip install {name}, or leave it out")
