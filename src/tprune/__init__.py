"""tprune: makes trained Transformers really smaller and faster on CPUs, and proves it by measuring.

The names below load what they need when first used, so that the runtimes' modules stay free of torch.
"""

from __future__ import annotations

import importlib
from typing import Any

from tprune.telemetry import switch_off

switch_off()  # here, because every process that uses any part of the package comes by

_HOME = {
    "Structure": "structure", "View": "coupling", "Coupling": "coupling", "Role": "coupling", "producer": "coupling",
    "consumer": "coupling", "bias": "coupling", "couplings": "models", "Plan": "plan", "Mode": "plan", "make_plan": "plan",
    "GroupLasso": "methods.group_lasso", "HoyerSquare": "methods.hoyer_square", "Controller": "control",
    "keep_largest": "policies",
    "PacedHoyerSquare": "methods.hoyer_square", "Regulariser": "regularise", "Target": "policies",
    "select_to": "policies", "mask_": "realise.mask", "shrink": "realise.shrink", "certify": "realise.certificate",
    "save": "checkpoint", "load": "checkpoint", "load_tokenizer": "checkpoint", "compress": "one_call", "Compressed": "compressed",
    "DivergedError": "errors", "UnreachableError": "errors", "Prune": "recipe", "Recover": "recipe", "Analyze": "recipe", "Uniform": "select", "Shared": "select", "Limits": "select",
    "trim_vocabulary": "vocabulary", "promise": "policies.promise", "LatencyTable": "latency", "Setting": "latency",
    "NoisyMachineError": "errors", "Parallel": "data", "read_pair": "data", "InputError": "errors", "TpruneError": "errors",
}  # fmt: skip

__all__ = sorted(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tprune' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tprune.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
