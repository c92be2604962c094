"""The residual stream in a trace: the axis that most tensors are on, with the norms that run over it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tprune.propose.axes import Atom
from tprune.propose.found import FoundStream, FoundView, held_by
from tprune.propose.trace import Trace, TracedPlace

LETTERS = "abcdefgh"


def stream(model: nn.Module, trace: Trace, notes: list[str]) -> FoundStream | None:
    """The residual stream; None, with a note that says why, where a row cannot hold it.

    Args:
        model: that was traced.
        trace: of it.
        notes: are added to.
    """
    normed = {atom: places for atom, places in trace.classes().items() if atom.reduced and len(places) > 3}
    if not normed:
        notes.append("no residual stream was found: no axis of several weights is normalised")
        return None
    atom, places = max(normed.items(), key=lambda item: len(item[1]))
    where = f"the residual stream of {atom.size} dimensions"
    if atom.mixed or atom.parts:
        notes.append(f"{where} is mixed by {atom.mixed or 'slices of it'}")
        return None
    try:
        return _stream(model, atom, places)
    except ValueError as error:
        notes.append(f"{where}: {error}")
        return None


def _stream(model: nn.Module, atom: Atom, places: Sequence[TracedPlace]) -> FoundStream:
    embeddings, norms, writers, readers, conv1d = (list[str]() for _ in range(5))
    tensors: list[FoundView] = []
    for place in places:
        module, _, what = place.tensor.rpartition(".")
        owner, held = model.get_submodule(module), held_by(model, place.tensor)
        if isinstance(owner, nn.Embedding) and what == "weight":
            embeddings.append(module)
        elif held is not None:
            (writers if place.axis == held.outputs else readers).append(module)
            conv1d += [module] if held.outputs == 1 else []
        elif module in atom.reduced and what == "weight":
            norms.append(module)
        elif not (what == "bias" and module in (*writers, *norms)):
            tensors.append(_view(model, place))
    if bare := sorted(where for where in atom.reduced if where not in norms and _normalises(model, where)):
        raise ValueError(f"{bare[0]} normalises it, and has no weight, which a row of the stream needs")
    rms, offset = _kind(model, norms, atom.size)
    return FoundStream(
        tuple(embeddings),
        tuple(norms),
        tuple(writers),
        tuple(readers),
        rms,
        offset,
        tuple(dict.fromkeys(conv1d)),
        tuple(tensors),
    )


def _normalises(model: nn.Module, where: str) -> bool:
    """Whether a sum runs in a module without others: the sums of a model's own code are none of its norms."""
    return bool(where) and not list(model.get_submodule(where).children())


def _view(model: nn.Module, place: TracedPlace) -> FoundView:
    tensor = dict(model.named_parameters(remove_duplicate=False)).get(place.tensor)
    if tensor is None:
        raise ValueError(f"{place.tensor}, which is no parameter, is on it")
    others = iter(LETTERS)
    axes = ["u" if axis == place.axis else next(others) for axis in range(tensor.ndim)]
    reads = place.axis == 1 and tensor.ndim == 4
    role = "bias" if tensor.ndim == 1 else "consumer" if reads else "producer"
    return FoundView(role, place.tensor, f"{' '.join(axes)} -> u")


@torch.no_grad()
def _kind(model: nn.Module, norms: Sequence[str], width: int) -> tuple[bool, int]:
    """Whether the norms are by the root mean square, and what they add to their weight: tried, not read."""
    found = set[tuple[bool, int]]()
    x = torch.randn(2, 3, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for name in norms:
        module = model.get_submodule(name)
        try:
            found.add(_kind_of(module, x))
        except (TypeError, AttributeError, RuntimeError, LookupError, ValueError) as error:  # of another signature
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
            raise ValueError(f"{name}, a {type(module).__name__}, is no norm of one input ({said})") from error
    if len(found) != 1:
        raise ValueError(f"{len(norms)} norms of {len(found)} kinds are on it; a row has norms of one kind")
    return found.pop()


def _kind_of(module: nn.Module, x: Tensor) -> tuple[bool, int]:
    """Of one norm: whether it is by the root mean square, and what it adds to its weight."""
    norm: Any = copy.deepcopy(module).double()
    centred = bool((norm(x) - norm(x + 1)).abs().max() < 1e-4)
    norm.weight.zero_()
    if getattr(norm, "bias", None) is not None:
        norm.bias.zero_()
    return not centred, int(bool(norm(x).abs().max() > 1e-4))
