"""ResNets of basic blocks, of any class whose modules have the usual names: the channels inside the blocks."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from tprune.core.sites import CHANNELS, Site
from tprune.families.channels import Channels
from tprune.families.rows import Row
from tprune.families.table import Table

BLOCK = (
    "conv1",
    "bn1",
    "conv2",
    "bn2",
)  # in this order; where norms come first they are norms of what convolutions read
OTHERS = ("conv3", "bn3")  # of bottlenecks


def stages(model: nn.Module) -> dict[str, nn.Sequential]:
    """The stages of a ResNet: `layer1`, `layer2`, ..."""
    children = model.named_children()
    return {name: stage for name, stage in children if name.startswith("layer") and isinstance(stage, nn.Sequential)}


def belongs(model: nn.Module) -> bool:
    """Whether all stages are made of basic blocks."""
    blocks = [[name for name, _ in block.named_children()] for stage in stages(model).values() for block in stage]
    return bool(blocks) and all(tuple(name for name in names if name in BLOCK + OTHERS) == BLOCK for names in blocks)


def rows(model: nn.Module) -> Iterator[Row]:
    """One row a block."""
    for stage, blocks in stages(model).items():
        for number in range(len(blocks)):
            block = f"{stage}.{number}"
            site = Site(stage, number, CHANNELS)
            yield Channels(site, block, (f"{block}.conv1",), (f"{block}.bn1",), (f"{block}.conv2",))


RESNET = Table("resnet", belongs, rows)
