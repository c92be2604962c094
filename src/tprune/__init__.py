"""tprune: makes trained Transformers really smaller and faster on CPUs, and proves it by measuring.

The names below load what they need when first used, so that the runtimes' modules stay free of torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tprune.support.telemetry import switch_off

switch_off()  # here, because every process that uses any part of the package comes by

if TYPE_CHECKING:  # type checkers see the names themselves; at run time each loads what it needs when first used
    from tprune.budget.forecast import forecast as forecast
    from tprune.budget.from_files import select_from_files as select_from_files
    from tprune.budget.size import Budget as Budget
    from tprune.budget.size import keep_largest as keep_largest
    from tprune.budget.size import select_to as select_to
    from tprune.core.coupling import Coupling as Coupling
    from tprune.core.coupling import Role as Role
    from tprune.core.coupling import View as View
    from tprune.core.coupling import bias as bias
    from tprune.core.coupling import consumer as consumer
    from tprune.core.coupling import producer as producer
    from tprune.core.plan import Mode as Mode
    from tprune.core.plan import Plan as Plan
    from tprune.core.plan import make_plan as make_plan
    from tprune.core.selection import Limits as Limits
    from tprune.core.selection import Shared as Shared
    from tprune.core.selection import Uniform as Uniform
    from tprune.core.structure import Structure as Structure
    from tprune.costs.latency.table import LatencyTable as LatencyTable
    from tprune.costs.latency.table import TimingConfig as TimingConfig
    from tprune.data.parallel import Parallel as Parallel
    from tprune.data.parallel import read_pair as read_pair
    from tprune.families.registry import couplings as couplings
    from tprune.methods.controller import Controller as Controller
    from tprune.methods.gradual_magnitude import GradualMagnitude as GradualMagnitude
    from tprune.methods.group_lasso import GroupLasso as GroupLasso
    from tprune.methods.hoyer_square import HoyerSquare as HoyerSquare
    from tprune.methods.hoyer_square import PacedHoyerSquare as PacedHoyerSquare
    from tprune.methods.regulariser import Regulariser as Regulariser
    from tprune.propose.proposal import propose_family as propose_family
    from tprune.realise.certificate import certify as certify
    from tprune.realise.checkpoint import save as save
    from tprune.realise.mask import mask_ as mask_
    from tprune.realise.shrink import shrink as shrink
    from tprune.realise.streamed import cut_checkpoint as cut_checkpoint
    from tprune.recipe.schema import Analyze as Analyze
    from tprune.recipe.schema import Prune as Prune
    from tprune.recipe.schema import Recover as Recover
    from tprune.run.compressed import Compressed as Compressed
    from tprune.run.load import load as load
    from tprune.run.load import load_tokenizer as load_tokenizer
    from tprune.run.one_call import compress as compress
    from tprune.support.errors import DivergedError as DivergedError
    from tprune.support.errors import InputError as InputError
    from tprune.support.errors import NoisyMachineError as NoisyMachineError
    from tprune.support.errors import TpruneError as TpruneError
    from tprune.support.errors import UnreachableError as UnreachableError
    from tprune.vocabulary.trim import trim_vocabulary as trim_vocabulary

_HOME = {
    "budget.forecast": ("forecast",),
    "budget.from_files": ("select_from_files",),
    "budget.size": ("Budget", "keep_largest", "select_to"),
    "core.coupling": ("Coupling", "Role", "View", "bias", "consumer", "producer"),
    "core.plan": ("Mode", "Plan", "make_plan"),
    "core.selection": ("Limits", "Shared", "Uniform"),
    "core.structure": ("Structure",),
    "costs.latency.table": ("LatencyTable", "TimingConfig"),
    "data.parallel": ("Parallel", "read_pair"),
    "families.registry": ("couplings",),
    "methods.controller": ("Controller",),
    "methods.gradual_magnitude": ("GradualMagnitude",),
    "methods.group_lasso": ("GroupLasso",),
    "methods.hoyer_square": ("HoyerSquare", "PacedHoyerSquare"),
    "methods.regulariser": ("Regulariser",),
    "propose.proposal": ("propose_family",),
    "realise.certificate": ("certify",),
    "realise.checkpoint": ("save",),
    "realise.mask": ("mask_",),
    "realise.shrink": ("shrink",),
    "realise.streamed": ("cut_checkpoint",),
    "recipe.schema": ("Analyze", "Prune", "Recover"),
    "run.compressed": ("Compressed",),
    "run.load": ("load", "load_tokenizer"),
    "run.one_call": ("compress",),
    "support.errors": ("DivergedError", "InputError", "NoisyMachineError", "TpruneError", "UnreachableError"),
    "vocabulary.trim": ("trim_vocabulary",),
}
_MODULES = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'tprune' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tprune.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
