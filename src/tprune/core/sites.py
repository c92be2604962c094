"""Sites: where in a model a coupling lies. The family that makes a coupling says it; nothing reads it from a name.

Names of modules come back in files only: latency tables and results call a block what Hugging Face calls its module.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tprune.support.errors import InputError

ENCODER, DECODER = "encoder", "decoder"
SELF_ATTENTION, CROSS_ATTENTION = "self_attention", "cross_attention"
FEED_FORWARD, RESIDUAL, CHANNELS, EMBEDDING = "feed_forward", "residual", "channels", "embedding"
MODULES = {SELF_ATTENTION: "self_attn", CROSS_ATTENTION: "encoder_attn", FEED_FORWARD: "ffn"}  # as files write them
BLOCKS = {module: block for block, module in MODULES.items()} | {"fc1": FEED_FORWARD, "fc2": FEED_FORWARD}
WRITTEN = re.compile(r"(?:^|\.)(?P<stack>\w+)\.layers\.(?P<layer>\d+)\.(?P<module>\w+)(?:\.|$)")
OTHER = re.compile(r"^(?P<stack>\w+)\.(?P<layer>\d+)\.(?P<module>\w+)$")  # a block that Transformers has no module for


class Site(NamedTuple):
    """Where in a model a coupling lies. Couplings of one block have the same site.

    Attributes:
        stack: `encoder` or `decoder`, or a stage of a convolutional network; empty for what belongs to the whole model.
            What reads the source lies in the encoder, or is a cross-attention.
        layer: its number in the stack, from 0; None for what lies in no layer.
        block: `self_attention`, `cross_attention`, `feed_forward`, `channels`, `embedding`, `residual`, or another word
            of the family.

    Example:
        >>> Site("decoder", 2, "cross_attention").name, Site("encoder", 0, "feed_forward").place
        ('model.decoder.layers.2.encoder_attn', 'encoder.ffn')

        >>> Site("layer1", 0, "channels").name
        'layer1.0.channels'
    """

    stack: str
    layer: int | None
    block: str

    @property
    def name(self) -> str:
        """The block, as latency tables and results write it."""
        if self.layer is None:
            return self.place
        if self.block not in MODULES:
            return f"{self.stack}.{self.layer}.{self.block}"
        return f"model.{self.stack}.layers.{self.layer}.{MODULES[self.block]}"

    @property
    def place(self) -> str:
        """The block whatever its layer, as latency tables write it."""
        return f"{self.stack}.{MODULES.get(self.block, self.block)}".removeprefix(".")

    @property
    def reads_source(self) -> bool:
        """Whether a decoder reads the source here."""
        return self.block == CROSS_ATTENTION


WHOLE_MODEL = Site("", None, RESIDUAL)


def site_from_json(data: object) -> Site | None:
    """A site as JSON holds it. Raises `ValueError` for what is none.

    Args:
        data: `[stack, layer or null, block]`, or None.
    """
    if data is None:
        return None
    if (
        not isinstance(data, list | tuple)
        or [type(part) for part in data] not in ([str, int, str], [str, type(None), str])
        or (data[1] or 0) < 0
    ):
        raise ValueError(f"site {data!r:.80}; expected [stack, layer or null, block]")
    return Site(*data)


def site_from_name(name: str) -> Site | None:
    """The site that a name in a file stands for; None where it stands for none.

    For reading files alone: plans and analyses from before they held sites, and latency tables, which name blocks.

    Args:
        name: of a coupling or block, as older files have it.

    Example:
        >>> site_from_name("model.decoder.layers.2.encoder_attn.heads")
        Site(stack='decoder', layer=2, block='cross_attention')
    """
    if name == "width":  # of the couplings of Marian and BART the only one outside the layers
        return WHOLE_MODEL
    found = WRITTEN.search(name) or OTHER.match(name)
    if found is None:
        return None
    return Site(found["stack"], int(found["layer"]), BLOCKS.get(found["module"], found["module"]))


def no_site(name: str) -> InputError:
    """The error for a coupling that needs a site and has none.

    Args:
        name: of the coupling.
    """
    return InputError(
        f"{name}: the coupling has no site (stack, layer and block, such as decoder, 2, cross_attention), so what else "
        "lies in its block is not known; its family must give it one (tprune.core.sites.Site)"
    )
