"""Feed-forward blocks in a trace: axes that linear maps write, elementwise operations touch, and one map reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from tprune.families.rows import Weights
from tprune.propose.axes import Atom
from tprune.propose.found import FoundFeedForward, alone, held_by, holder
from tprune.propose.trace import Trace, TracedPlace


def feed_forwards(model: nn.Module, trace: Trace, notes: list[str]) -> Iterator[FoundFeedForward]:
    """The blocks that a row can hold; what else is between linear maps is noted.

    Args:
        model: that was traced.
        trace: of it.
        notes: are added to.
    """
    for atom, places in trace.classes().items():
        ups, downs = list[TracedPlace](), list[TracedPlace]()
        for place in places:
            held = held_by(model, place.tensor)
            if held is not None:
                (ups if place.axis == held.outputs else downs).append(place)
        names = tuple(dict.fromkeys(place.tensor.removesuffix(".weight") for place in ups))
        if not ups or len(downs) != 1 or atom.parts:
            continue
        down = downs[0].tensor.removesuffix(".weight")
        wrong = _wrong(model, atom, places, names, down)
        if wrong:
            notes.append(f"hidden units between {', '.join(names)} and {down}: {wrong}")
            continue
        yield _block(model, names, down, len(ups) // len(names))


def _wrong(model: nn.Module, atom: Atom, places: Sequence[TracedPlace], ups: Sequence[str], down: str) -> str:
    """Why no row holds them; empty where one does."""
    if atom.mixed:
        return f"they are mixed by {atom.mixed}"
    if atom.reduced:
        return f"they are summed over in {sorted(atom.reduced)[0] or 'the model'}"
    known = {*(f"{up}.{what}" for up in ups for what in ("weight", "bias")), f"{down}.weight"}
    if odd := [place.tensor for place in places if place.tensor not in known]:
        return f"{odd[0]} is on them too"
    weights = [place for place in places if place.tensor in {f"{up}.weight" for up in ups}]
    parts = len(weights) // len(ups)
    if parts > 2 or any(place.size != parts * atom.size for place in weights):
        return "they are a part of a map's outputs"
    kinds = {held_by(model, f"{name}.weight") for name in (*ups, down)}
    return "" if len(kinds) == 1 else "the maps hold their weights in different ways"


def _block(model: nn.Module, ups: tuple[str, ...], down: str, parts: int) -> FoundFeedForward:
    whole = holder((*ups, down))
    held = held_by(model, f"{down}.weight")
    kinds: dict[str, Weights] = {} if held is None else {"held": held}
    if alone(model, whole, (*ups, down)):
        return FoundFeedForward(whole, "", ups, down, parts, **kinds)
    inner = holder(ups)
    if inner != whole and alone(model, inner, ups):
        return FoundFeedForward(inner, "", ups, down, parts, **kinds)
    return FoundFeedForward(ups[0], whole, ups, down, parts, **kinds)
