"""The model drawn layer by layer: what is left of every sublayer inside the outline of the dense one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tprune.core.kinds import TILING, WHOLE_BLOCK
from tprune.core.plan import Plan
from tprune.core.sites import CROSS_ATTENTION, DECODER, ENCODER, FEED_FORWARD, SELF_ATTENTION, Site

WIDE, PITCH = 230, 32
STACKS = {ENCODER: (SELF_ATTENTION, FEED_FORWARD), DECODER: (SELF_ATTENTION, CROSS_ATTENTION, FEED_FORWARD)}
WORDS = {SELF_ATTENTION: "self-attention", CROSS_ATTENTION: "cross-attention", FEED_FORWARD: "feed-forward"}
LABELS = {"ffn": "units"}
HEADS, UNITS = "heads", "ffn"  # what is drawn of an attention, and of a feed-forward block
Masks = Mapping[tuple[Site | None, str], Tensor]  # what a plan keeps, by site and kind


@dataclass(frozen=True)
class Cell:
    """A head, or the units of an FFN: where it lies in the row, and which share of it is left."""

    x: float
    wide: float
    left: float


@dataclass(frozen=True)
class Block:
    """One sublayer."""

    label: str
    says: str
    y: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Stack:
    """The encoder or the decoder, first layer on top."""

    name: str
    blocks: tuple[Block, ...]
    high: int


def drawing(plan: Plan, config: Mapping[str, Any]) -> list[Stack]:
    """The stacks of a model, layer by layer.

    Of an encoder-decoder both, with sublayers that the plan does not name, which are whole; of other models the blocks
    of the plan.

    Args:
        plan: after selection.
        config: of the dense model: layers, heads and FFN sizes.
    """
    masks = {(entry.coupling.site, entry.coupling.kind): entry.keep for entry in plan.entries}
    if any(f"{stack}_layers" not in config for stack in STACKS):
        return _planned(masks)
    found = []
    for stack, drawn in STACKS.items():
        blocks: list[Block] = []
        for layer in range(int(config[f"{stack}_layers"])):
            for block in drawn:
                site = Site(stack, layer, block)
                heads = int(config[f"{stack}_attention_heads"])
                cells, says = _units(masks, site) if block == FEED_FORWARD else _heads(masks, site, heads)
                label = f"{layer + 1} {WORDS[block]}"
                blocks.append(Block(label, says, PITCH * len(blocks), tuple(cells)))
        found.append(Stack(stack, tuple(blocks), PITCH * len(blocks)))
    return found


def _planned(masks: Masks) -> list[Stack]:
    """The stacks of the blocks that a plan names."""
    sites = sorted({site for site, kind in masks if site is not None and site.layer is not None}, key=_order)
    stacks: dict[str, list[Block]] = {}
    for site in sites:
        cover = next((kind for kind in (HEADS, UNITS) if (site, kind) in masks), None)
        if cover == HEADS:
            cells, says = _heads(masks, site, len(masks[site, HEADS]))
        else:
            own = next((kind for each, kind in masks if each == site and kind != WHOLE_BLOCK), UNITS)
            cells, says = _units(masks, site, cover or own)
        blocks = stacks.setdefault(site.stack, [])
        label = f"{(site.layer or 0) + 1} {WORDS.get(site.block, site.block)}"
        blocks.append(Block(label, says, PITCH * len(blocks), tuple(cells)))
    return [Stack(name, tuple(blocks), PITCH * len(blocks)) for name, blocks in stacks.items()]


def _order(site: Site) -> tuple[str, int, int, str]:
    known = tuple(WORDS)
    return site.stack, site.layer or 0, known.index(site.block) if site.block in known else len(known), site.block


def _heads(masks: Masks, site: Site, heads: int) -> tuple[list[Cell], str]:
    keep = masks.get((site, HEADS))
    stays = [True] * heads if keep is None else [bool(k) for k in keep]
    inside = [masks[site, kind] for kind in TILING[HEADS] if (site, kind) in masks]
    whole = len(TILING[HEADS]) - len(
        inside
    )  # of queries and keys, values and outputs: what no coupling of the plan touches
    share = [
        (sum(float(mask[h].double().mean()) for mask in inside) + whole) / len(TILING[HEADS]) for h in range(heads)
    ]
    if _gone(masks, site) or not any(stays):
        return [Cell(x, w, 0.0) for x, w in _places(heads)], "removed"
    left = [s if kept else 0.0 for s, kept in zip(share, stays, strict=True)]
    some = [s for s in left if s]
    says = f"{sum(stays)} of {heads} heads" + (f", at {sum(some) / len(some):.0%}" if inside else "")
    return [Cell(x, w, s) for (x, w), s in zip(_places(heads), left, strict=True)], says


def _units(masks: Masks, site: Site, kind: str = UNITS) -> tuple[list[Cell], str]:
    keep = masks.get((site, kind))
    if _gone(masks, site) or (keep is not None and not bool(keep.any())):
        return [Cell(0.0, float(WIDE), 0.0)], "removed"
    if keep is None:
        return [Cell(0.0, float(WIDE), 1.0)], "whole"
    share = float(keep.double().mean())
    cells = [Cell(0.0, round(WIDE * share, 1), 1.0), Cell(round(WIDE * share, 1), round(WIDE * (1 - share), 1), 0.0)]
    return [cell for cell in cells if cell.wide], f"{int(keep.sum()):,} of {keep.numel():,} {LABELS.get(kind, kind)}"


def _gone(masks: Masks, site: Site) -> bool:
    keep = masks.get((site, WHOLE_BLOCK))
    return keep is not None and not bool(keep.all())


def _places(cells: int) -> Iterator[tuple[float, float]]:
    wide = WIDE / cells
    return ((round(i * wide, 1), round(wide, 1)) for i in range(cells))
