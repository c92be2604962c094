"""Whether the modules of a model are its own: none around them, and no weights in other forms."""

from __future__ import annotations

from torch import Tensor, nn

from tprune.core.sharded import is_sharded
from tprune.support.errors import InputError

ADAPTERS = "peft"
QUANTISERS = ("torchao", "bitsandbytes", "gptqmodel", "hqq", "quanto", "optimum")
MERGE = "merge it first: model.merge_and_unload() gives the model itself"
LOAD = "load the model before it was quantized, in 32 or 16 bit, and quantize the pruned one"


def check_plain(model: nn.Module) -> None:
    """Whether the weights of a model are those that it computes with, and floating-point numbers.

    Args:
        model: any module.

    Raises:
        InputError: adapters lie around its modules, or its weights are quantized; says what to do.
    """
    for name, module in model.named_modules():
        if _origin(module) == ADAPTERS:
            what = f"{name} is a {type(module).__name__}" if name else f"a {type(module).__name__}"
            raise InputError(f"{type(model).__name__} with an adapter ({what}); {MERGE}")
        if _origin(module) in QUANTISERS:
            raise InputError(f"{type(model).__name__}: {name} is a quantized {type(module).__name__}; {LOAD}")
    for name, tensor in model.named_parameters():
        if not (tensor.is_floating_point() and (is_sharded(tensor) or _origin(tensor) not in QUANTISERS)):
            raise InputError(f"{type(model).__name__}: {name} is quantized ({_form(tensor)}); {LOAD}")


def _origin(thing: object) -> str:
    """The package that a thing's class is of."""
    return type(thing).__module__.partition(".")[0]


def _form(tensor: Tensor) -> str:
    kind = type(tensor)
    return str(tensor.dtype) if kind in (nn.Parameter, Tensor) else kind.__name__
