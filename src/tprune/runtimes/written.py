"""The precisions of a runtime that has the same ones for models of all builds."""

from __future__ import annotations

from collections.abc import Sequence

from tprune.core.precision import Precision


def unwritten(precision: Precision, written: Sequence[str], where: str) -> str | None:
    """Why a precision is not written; None where it is.

    Args:
        precision: that is asked for.
        written: names of those that are.
        where: what they are written for, as messages call it.

    Example:
        >>> unwritten(Precision("bf16"), ("fp32", "int8"), "XNNPACK")
        'no bf16 is written for XNNPACK; expected fp32 or int8'
    """
    if precision.name in written:
        return None
    return f"no {precision.name} is written for {where}; expected {' or '.join(written)}"
