"""The row of channels between convolutions: what makes them, what acts on each alone, and what reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tprune.core.coupling import Coupling, View, bias, consumer, producer
from tprune.core.cuts import Cuts
from tprune.core.sites import Site
from tprune.families.rows import Changes, Heads, Shapes, expect, part
from tprune.support.errors import InputError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
KERNELS = {2: "", 3: " x", 4: " y x", 5: " t y x"}  # the axes of a kernel, by those of the weights


@dataclass(frozen=True)
class Channels:
    """Channels that are read nowhere but here; those that a residual connection adds to others are none.

    Attributes:
        site: where they lie.
        module: holds the convolutions.
        producers: convolutions or linear maps whose outputs they are; several where their outputs are added.
        through: batch norms, and depthwise convolutions.
        consumers: convolutions, or linear maps after a flattening.
    """

    site: Site
    module: str
    producers: tuple[str, ...]
    through: tuple[str, ...]
    consumers: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Producers, and what acts on each channel by itself."""
        return (*self.producers, *self.through)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Consumers."""
        return self.consumers

    def check(self, model: nn.Module) -> None:
        """Raises `InputError` unless all modules have the same number of channels, and only depthwise groups."""
        channels = int(part(model, self.module, self.producers[0], *CONVOLUTIONS, nn.Linear).weight.shape[0])
        for name in self.producers:
            self._dense(model, name, channels, 0)
        for name in self.consumers:
            self._dense(model, name, channels, 1)
        for name in self.through:
            module = part(model, self.module, name, _BatchNorm, *CONVOLUTIONS)
            if isinstance(module, _BatchNorm):
                for tensor in (what for what in BATCH_NORM if getattr(module, what) is not None):
                    expect(model, self.module, name, tensor, channels)
            else:
                kernel = (None,) * (module.weight.ndim - 2)
                expect(model, self.module, name, "weight", channels, 1, *kernel)

    def _dense(self, model: nn.Module, name: str, channels: int, axis: int) -> None:
        module: Any = part(model, self.module, name, *CONVOLUTIONS, nn.Linear)
        if getattr(module, "groups", 1) > 1:
            raise InputError(f"{self.module}: {name} has {module.groups} groups of channels; its row expects 1")
        if axis == 1 and isinstance(module, nn.Linear) and module.in_features % channels == 0:
            return  # after a flattening it reads every position of a channel
        if axis == 0 and module.bias is not None:
            expect(model, self.module, name, "bias", channels)
        shape: list[int | None] = [None] * module.weight.ndim
        shape[axis] = channels
        expect(model, self.module, name, "weight", *shape)

    def couplings(self, shapes: Shapes) -> Iterator[Coupling]:
        """The channels."""
        channels = shapes[f"{self.producers[0]}.weight"][0]
        views: list[View] = []
        for name in self.producers:
            views += [producer(f"{name}.weight", f"c i{_kernel(shapes, name)} -> c"), *_biases(shapes, name)]
        for name in self.through:
            if len(shapes.get(f"{name}.weight", ())) > 1:
                views += [producer(f"{name}.weight", f"c i{_kernel(shapes, name)} -> c"), *_biases(shapes, name)]
            else:
                views += [bias(f"{name}.{what}", "c -> c") for what in BATCH_NORM if f"{name}.{what}" in shapes]
        for name in self.consumers:
            weight = f"{name}.weight"
            flat = len(shapes[weight]) == 2
            read = consumer(weight, "o (c s) -> c", c=channels) if flat else None
            views.append(read or consumer(weight, f"o c{_kernel(shapes, name)} -> c"))
        yield Coupling(f"{self.module}.channels", tuple(views), kind="channels", site=self.site)

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """None beside the shapes. Raises `InputError` where no channel is left."""
        if 0 in cuts.shape(f"{self.producers[0]}.weight"):
            raise InputError(f"{self.module}: no channels are left; keep at least one")
        return Changes()


def _kernel(shapes: Shapes, module: str) -> str:
    return KERNELS[len(shapes[f"{module}.weight"])]


def _biases(shapes: Shapes, module: str) -> list[View]:
    return [bias(f"{module}.bias", "c -> c")] if f"{module}.bias" in shapes else []
