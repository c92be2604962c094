"""The row of the residual stream: what writes it, what reads it, and the norms on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from tprune.core.coupling import Coupling, Role, View, bias, producer
from tprune.core.cuts import Cuts
from tprune.core.sites import WHOLE_MODEL, Site
from tprune.families.rows import (
    CONV1D,
    LINEAR,
    Changes,
    Heads,
    Shapes,
    Weights,
    expect,
    features,
    gone,
    linear,
    part,
    reads,
)
from tprune.support.errors import InputError


@dataclass(frozen=True)
class Residual:
    """The residual stream of a whole model. What lies in blocks of which pruning has left nothing may be named too.

    Attributes:
        embeddings: modules whose vectors are added into the stream.
        norms: layer norms of the stream, or norms by the root mean square that multiply by their weight.
        writers: linear maps into the stream.
        readers: linear maps out of the stream.
        rms: whether the norms are by the root mean square.
        positions: embeddings that are cut with the stream and do not count in the norm of its dimensions; of positions
            that are computed.
        conv1d: the writers and readers that hold their weights as `Conv1D` does.
    """

    embeddings: tuple[str, ...]
    norms: tuple[str, ...]
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    rms: bool = False
    positions: tuple[str, ...] = ()
    conv1d: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The model itself."""
        return ""

    @property
    def site(self) -> Site:
        """No layer."""
        return WHOLE_MODEL

    @property
    def outputs(self) -> tuple[str, ...]:
        """What writes the stream."""
        return (*self.embeddings, *self.positions, *self.norms, *self.writers)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What reads it."""
        return self.readers

    def check(self, model: nn.Module) -> None:
        """Raises `InputError` unless all have the same width."""
        width: int = part(model, "width", self.embeddings[0], nn.Embedding).weight.shape[1]
        for name in (*self.embeddings, *self.positions):
            expect(model, "width", name, "weight", None, width)
        for name in self.norms:
            expect(model, "width", name, "weight", width)
            if not self.rms:
                expect(model, "width", name, "bias", width)
        for name in (name for name in self.writers if not _in_gone(model, name)):
            if hasattr(part(model, "width", name), "weight"):
                linear(model, "width", name, width, None, self._held(name))
            else:
                expect(model, "width", name, "bias", width)
        for name in (name for name in self.readers if not _in_gone(model, name)):
            linear(model, "width", name, None, width, self._held(name))

    def couplings(self, shapes: Shapes) -> Iterator[Coupling]:
        """The dimensions of the stream; views in the order of the model's tensors."""
        views: list[View] = [producer(f"{name}.weight", "v u -> u") for name in self.embeddings]
        views += [bias(f"{name}.weight", "v u -> u") for name in self.positions]
        for name in self.norms:
            views += [bias(f"{name}.{what}", "u -> u") for what in ("weight", "bias") if f"{name}.{what}" in shapes]
        for name in self.writers:
            found = features(Role.PRODUCER, shapes, name, "u", "u", held=self._held(name))
            views += [view for view in found if view.param in shapes]
        views += [reads(name, "u", "u", held=self._held(name)) for name in self.readers if f"{name}.weight" in shapes]
        place = {name: number for number, name in enumerate(shapes)}
        views.sort(key=lambda view: place[view.param])
        yield Coupling("width", tuple(views), kind="width", site=self.site)

    def _held(self, name: str) -> Weights:
        return CONV1D if name in self.conv1d else LINEAR

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """Norms go on dividing by the dense width. Raises `InputError` where nothing is left."""
        (width,), (left,) = (shape(f"{self.norms[0]}.weight") for shape in (cuts.shapes.__getitem__, cuts.shape))
        if not left:
            raise InputError("nothing is left of the residual width")
        if left == width:
            return Changes()
        kind = "rms_norm" if self.rms else "layer_norm"
        return Changes({name: {"kind": kind} for name in self.norms})


def _in_gone(model: nn.Module, name: str) -> bool:
    """Whether a module is, or would lie, in a block of which nothing is left, and is not what is left of it."""
    names = name.split(".")
    for count in range(1, len(names)):
        if gone(model, ".".join(names[:count])):
            return not hasattr(model.get_submodule(".".join(names[:count])), names[count])
    return gone(model, name)
