"""The precision that options name together."""

from __future__ import annotations

from collections.abc import Iterable

from tprune.core.precision import CALIBRATIONS, INT8, Precision
from tprune.support.errors import OptionError


def precision_of(name: str, exceptions: Iterable[str], calibration: str | None) -> Precision:
    """The precision that `--precision`, `--fp32` and `--calibration` name together.

    Raises:
        OptionError: a calibration of another precision than int8.

    Example:
        >>> precision_of("int8", (), "static").name
        'int8-static'
    """
    if calibration is None:
        return Precision(name, tuple(exceptions))
    if name not in (INT8.name, CALIBRATIONS[calibration]):
        raise OptionError(f"--calibration {calibration} is for --precision int8, got {name}")
    return Precision(CALIBRATIONS[calibration], tuple(exceptions))
