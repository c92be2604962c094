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
    shapes_of,
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
        tensors: views of what else writes or reads the stream and is no linear map; their groups are `u`.
        name: of the coupling.
        kind: of the coupling.
        site: where it lies; no layer.
    """

    embeddings: tuple[str, ...]
    norms: tuple[str, ...]
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    rms: bool = False
    positions: tuple[str, ...] = ()
    conv1d: tuple[str, ...] = ()
    tensors: tuple[View, ...] = ()
    name: str = "width"
    kind: str = "width"
    site: Site = WHOLE_MODEL

    @property
    def module(self) -> str:
        """The model itself."""
        return ""

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
        width = self._width(model)
        self._check_others(model, width)
        for name in (*self.embeddings, *self.positions):
            expect(model, self.name, name, "weight", None, width)
        for name in self.norms:
            expect(model, self.name, name, "weight", width)
            if not self.rms and part(model, self.name, name).bias is not None:
                expect(model, self.name, name, "bias", width)
        for name in (name for name in self.writers if not _in_gone(model, name)):
            if hasattr(part(model, self.name, name), "weight"):
                linear(model, self.name, name, width, None, self._held(name))
            else:
                expect(model, self.name, name, "bias", width)
        for name in (name for name in self.readers if not _in_gone(model, name)):
            linear(model, self.name, name, None, width, self._held(name))

    def _check_others(self, model: nn.Module, width: int) -> None:
        shapes = shapes_of(model)
        for view in self.tensors:
            if view.param not in shapes:
                raise InputError(f"{self.name}: its row names {view.param!r}, and the model has no such tensor")
            if (groups := view.structure.layout(shapes[view.param]).groups) != (width,):
                raise InputError(f"{self.name}: {view} has {groups[-1]} groups; its row expects {width}")

    def _width(self, model: nn.Module) -> int:
        if self.embeddings:
            return int(part(model, self.name, self.embeddings[0], nn.Embedding).weight.shape[1])
        return int(part(model, self.name, self.norms[0]).weight.shape[0])

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
        views += [view for view in self.tensors if view.param in shapes]
        place = {name: number for number, name in enumerate(shapes)}
        views.sort(key=lambda view: place[view.param])
        yield Coupling(self.name, tuple(views), kind=self.kind, site=self.site)

    def _held(self, name: str) -> Weights:
        return CONV1D if name in self.conv1d else LINEAR

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """Norms go on dividing by the dense width. Raises `InputError` where nothing is left."""
        (width,), (left,) = (shape(f"{self.norms[0]}.weight") for shape in (cuts.shapes.__getitem__, cuts.shape))
        if not left:
            raise InputError(f"nothing is left of the {'residual width' if self.kind == 'width' else self.kind}")
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
