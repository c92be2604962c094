"""What of OpenVINO a precision asks for: settings of a model, and instructions of the processor."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from tprune.support.machine import processor_features

GROUP = 64  # inputs that share a scale where activations become 8-bit; products of fewer inputs are left as they are
STORED = ("fp32", "bf16", "int8", "int8-weights")  # precisions that weights are written in
# instructions of the processor that a precision is for, any of which will do, and what it becomes without them
NEEDS: Mapping[str, tuple[str, ...]] = {"bf16": ("avx512_bf16", "amx_bf16"), "int8": ("avx512_vnni", "avx_vnni")}
ALL = frozenset(chain.from_iterable(NEEDS.values()))
FALLS_BACK: Mapping[str, str] = {"bf16": "fp32", "int8": "int8-weights"}


def lacks(precision: str, features: frozenset[str] | None = None) -> str | None:
    """Which instructions a processor would need for a precision; None where it has some of them, or needs none.

    Args:
        precision: its name.
        features: instructions that the processor has; those of this one if not given.
    """
    needs = NEEDS.get(precision, ())
    if not needs or (processor_features() if features is None else features).intersection(needs):
        return None
    return f"this processor has no instructions for {precision} ({' or '.join(needs)})"


def settings(precision: str, threads: int) -> dict[str, Any]:
    """Of one model in one process.

    Left alone, openvino computes in bfloat16, and where weights are 8-bit, with 8-bit activations.

    Args:
        precision: that the model was exported in.
        threads: of one operation.
    """
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP if precision == "int8" else 0,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # the process may be pinned already, and several take turns on the same cores
    }
