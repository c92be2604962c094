"""The package executorch: imported when it is needed, without what its libraries write to standard error."""

from __future__ import annotations

import importlib
from typing import Any

from tprune.support.chatter import quiet
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
        with quiet(LOGGERS):
            return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise InputError(f"the runtime executorch needs the package executorch ({error}); {INSTALL}") from None
