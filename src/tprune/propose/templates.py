"""Blocks of many layers as one: names with the number of the layer left open."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from tprune.core.sites import CROSS_ATTENTION, DECODER, ENCODER, FEED_FORWARD, SELF_ATTENTION
from tprune.propose.found import FoundAttention, FoundFeedForward

LAYER = re.compile(r"^(?P<prefix>.*?)\.(?P<number>\d+)(?:\.|$)")  # the first number in the name of a module
OPEN = "{layer}"
Block = FoundAttention | FoundFeedForward


@dataclass(frozen=True)
class Template:
    """A block that several layers have.

    Attributes:
        prefix: of the names of the layers, up to their number; empty for a block in no layer.
        numbers: of the layers that have it.
        found: the block, with `{layer}` for the name of the layer.
        stack: for the site.
        block: for the site.
        offset: what is added to the number of a layer for the site.
        returns: how many results its module returns.
        reads: where an attention reads sizes; see `tprune.families.attention.Reads`.
        even: whether nothing is to be cut inside heads, though it could.
        without: kinds of couplings that are left out.
    """

    prefix: str
    numbers: tuple[int, ...]
    found: Block
    stack: str
    block: str
    offset: int = 0
    returns: int = 1
    reads: Mapping[str, str] = field(default_factory=dict, hash=False)
    even: bool = False
    without: tuple[str, ...] = ()

    def named(self, name: str) -> str:
        """The name of a module in the first layer that has the block."""
        return name.replace(OPEN, f"{self.prefix}.{self.numbers[0]}", 1)


def opened(name: str, prefix: str, number: str) -> str:
    """The name of a module with the layer left open.

    Args:
        name: of the module.
        prefix: of the names of layers.
        number: of the layer.

    Example:
        >>> opened("h.3.mlp.up", "h", "3"), opened("norm", "h", "3")
        ('{layer}.mlp.up', 'norm')
    """
    layer = f"{prefix}.{number}"
    return OPEN + name[len(layer) :] if name == layer or name.startswith(f"{layer}.") else name


def _open(found: Block, prefix: str, number: str) -> Block:
    def one(name: str) -> str:
        return opened(name, prefix, number)

    if isinstance(found, FoundAttention):
        q, k, v, o = map(one, found.maps)
        return replace(found, module=one(found.module), maps=(q, k, v, o), norms=tuple(map(one, found.norms)))
    return replace(
        found, module=one(found.module), layer=one(found.layer), ups=tuple(map(one, found.ups)), down=one(found.down)
    )


def templates(model: nn.Module, blocks: Sequence[Block], returns: Mapping[str, int]) -> list[Template]:
    """The blocks, those of the same kind in different layers as one, in the order of the model.

    Args:
        model: that they are of.
        blocks: found in it.
        returns: how many results modules return.
    """
    groups: dict[tuple[str, Block], list[Block]] = {}
    numbers: dict[tuple[str, Block], list[int]] = {}
    for block in blocks:
        place = LAYER.match(block.module)
        prefix, number = (place["prefix"], place["number"]) if place else ("", "")
        key = (prefix, _open(block, prefix, number) if place else block)
        groups.setdefault(key, []).append(block)
        numbers.setdefault(key, []).append(int(number or 0))
    stacks, made = _stacks(model, (prefix for prefix, _ in groups)), list[Template]()
    for key, same in groups.items():
        prefix, found = key
        stack, offset = stacks[prefix]
        counted = tuple(sorted(numbers[key]))
        told = {returns.get(block.module, 1) for block in same}
        made.append(Template(prefix, counted, found, stack, _word(found), offset, returns=max(told)))
    return _numbered(made)


def _word(found: Block) -> str:
    if isinstance(found, FoundFeedForward):
        return FEED_FORWARD
    return CROSS_ATTENTION if found.crosses else SELF_ATTENTION


def _stacks(model: nn.Module, prefixes: Iterable[str]) -> dict[str, tuple[str, int]]:
    """By prefix, the stack and how many layers of the same stack come before.

    Of a model with an encoder and a decoder the layers of the encoder are what `get_encoder` holds.
    """
    both = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
    encoder = set(model.get_encoder().modules()) if both else set()  # type: ignore[operator]  # of transformers
    writes = not both and hasattr(model, "can_generate") and bool(model.can_generate())  # type: ignore[operator]
    found, counts = dict[str, tuple[str, int]](), {ENCODER: 0, DECODER: 0}
    for prefix in dict.fromkeys(prefixes):
        held = model.get_submodule(prefix)
        stack = DECODER if writes or (both and held not in encoder) else ENCODER
        found[prefix] = (stack, counts[stack])
        counts[stack] += len(list(held.children())) if prefix else 0
    return found


def _numbered(made: Sequence[Template]) -> list[Template]:
    """Templates whose sites differ: a second block of a layer gets a word of its own, one in no layer a number."""
    taken = set[tuple[str, int, str]]()
    found = []
    for one in made:
        block, count = one.block, 1
        while any((one.stack, number + one.offset, block) in taken for number in one.numbers):
            if not one.prefix:
                one = replace(one, offset=one.offset + 1)
                continue
            count += 1
            block = f"{one.block}_{count}"
        taken |= {(one.stack, number + one.offset, block) for number in one.numbers}
        found.append(replace(one, block=block))
    return found
