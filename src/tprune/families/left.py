"""What `config.pruned` says of a model after cuts, which may not be the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from tprune.core.cuts import Cuts
from tprune.families.rows import Heads, Row
from tprune.support.errors import InputError

Numbers = Mapping[str, int | float]  # attributes of a module, by name


def left_by(rows: Iterable[Row], model: nn.Module, cuts: Cuts, heads: Heads) -> dict[str, Any]:
    """What is left, as modeling/modeling_pruned.py reads it. Raises `InputError` for what no small model can hold."""
    before = _before(model)
    replaced: dict[str, Any] = dict(before.get("replaced", {}))
    attributes, values, kept = (dict(before.get(what, {})) for what in ("attributes", "values", "kept"))
    for row in rows:
        change = row.changes(cuts, heads)
        replaced |= {module: dict(how) for module, how in change.replaced.items()}
        for module, named in change.attributes.items():
            attributes[module] = _changed(model.get_submodule(module), named, attributes.get(module, {}))
            values.pop(module, None)
        values |= {module: list(sizes) for module, sizes in change.values.items()}
        for module, left in change.kept.items():  # of the dense model's heads those that were left, and are
            kept[module] = [kept[module][head] for head in left] if module in kept else list(left)
    gathered = _gathered(cuts)
    tensors = {name: sizes for name, sizes in _tensors(cuts, before).items() if name.rpartition(".")[0] not in gathered}
    return {
        "replaced": replaced | gathered,
        "tensors": tensors,
        "attributes": {module: named for module, named in attributes.items() if named and module not in replaced},
        "values": {module: sizes for module, sizes in values.items() if module not in replaced},
        **({"kept": {module: left for module, left in kept.items() if module not in replaced}} if kept else {}),
    }


def added_buffers(model: nn.Module, cuts: Cuts, computed: Mapping[str, Tensor], stock: bool) -> dict[str, Any]:
    """What `config.pruned` says of buffers: those that a family computes, and that the dense class does not save.

    Args:
        model: before the cuts.
        cuts: of its tensors.
        computed: tensors of the small model, by name.
        stock: whether a stock class is to hold them.

    Raises:
        InputError: a computed tensor does not fit what the cuts leave, or its module is not there; or a stock class is
            to hold a buffer that it does not save.
    """
    before: Mapping[str, Any] = _before(model).get("buffers", {})
    saved, modules = model.state_dict(), dict(model.named_modules())
    found: dict[str, Any] = {name: dict(how) for name, how in before.items()}
    for name, tensor in computed.items():
        if name in saved and name not in before:
            if name in cuts.removed or tuple(tensor.shape) != tuple(cuts.shape(name)):
                raise InputError(
                    f"the family computes {name} of shape {tuple(tensor.shape)}; the cuts leave "
                    f"{'nothing of it' if name in cuts.removed else tuple(cuts.shape(name))}"
                )
            continue
        if name.rpartition(".")[0] not in modules:
            raise InputError(f"the family computes {name}, and the model has no module {name.rpartition('.')[0]!r}")
        if stock:
            raise InputError(f"a stock class does not save {name}, which the family computes; leave out stock")
        kind = {} if tensor.is_floating_point() else {"dtype": str(tensor.dtype).removeprefix("torch.")}
        found[name] = {"shape": list(tensor.shape)} | kind
    return found


def _before(model: nn.Module) -> Mapping[str, Any]:
    """What earlier pruning has left."""
    holder = model.config if isinstance(model, PreTrainedModel) else model
    return getattr(holder, "pruned", None) or {}


def _changed(module: Any, named: Numbers, before: Numbers) -> dict[str, int | float]:
    """The attributes that pruning has changed, now or before."""
    return {name: value for name, value in named.items() if name in before or _held(module, name) != value}


def _held(module: Any, name: str) -> object:
    """An attribute of a module, or of its configuration."""
    return reduce(lambda holder, part: getattr(holder, part, None), name.split("."), module)


def _tensors(cuts: Cuts, before: Mapping[str, Any]) -> dict[str, list[int | None]]:
    """By tensor, the sizes of the axes that were cut.

    None for the others, which the rest of the configuration describes.
    """
    found: dict[str, list[int | None]] = {}
    earlier: Mapping[str, Any] = before.get("tensors", {})
    for name in dict.fromkeys([*earlier, *cuts.keep]):
        if name not in cuts.shapes or name in cuts.removed or 0 in cuts.shape(name):
            continue
        shape, said = cuts.shape(name), earlier.get(name)
        cut = {*cuts.keep.get(name, {}), *(axis for axis, size in enumerate(said or ()) if size is not None)}
        found[name] = [size if axis in cut else None for axis, size in enumerate(shape)]
    return found


def _gathered(cuts: Cuts) -> dict[str, dict[str, Any]]:
    """The matrices of which some lines are gathered."""
    found: dict[str, dict[str, Any]] = {}
    for name, axes in cuts.gather.items():
        outputs, inputs = cuts.shape(name)
        if outputs and inputs:
            used = {("written", "read")[axis]: len(cuts.lines(name, axis)) for axis in axes}
            found[name.removesuffix(".weight")] = {"kind": "gathered", "inputs": inputs, "outputs": outputs, **used}
    return found
