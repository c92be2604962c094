"""Where in a model a component lies, read from its name."""

from __future__ import annotations

import re
from dataclasses import dataclass

LAYER = re.compile(r"^(?P<before>.*?)\.?(?:layers|blocks|h)\.(?P<layer>\d+)\.(?P<rest>.+)$")


@dataclass(frozen=True, order=True)
class Sublayer:
    """One residual branch: `Sublayer("decoder", 0, "cross")`. What lies in no layer has layer −1."""

    side: str
    layer: int
    part: str

    def __str__(self) -> str:
        return f"{self.side} {self.layer} {self.part}".strip() if self.layer >= 0 else self.part


@dataclass(frozen=True)
class Place:
    """A sublayer, and what in it: a matrix (with the axis `in` or `out`) or a kind of coupling."""

    sublayer: Sublayer
    item: str
    axis: str = ""


def place(name: str) -> Place:
    """Reads a component's name.

    Example:
        >>> place("model.decoder.layers.2.encoder_attn.q_proj.in")
        Place(sublayer=Sublayer(side='decoder', layer=2, part='cross'), item='q_proj', axis='in')
        >>> place("model.encoder.layers.0.ffn").sublayer.part
        'ffn'
    """
    stem, _, last = name.rpartition(".")
    axis = last if last in ("in", "out") else ""
    inner = stem if axis else name
    found = LAYER.match(inner)
    if found is None:
        return Place(Sublayer("", -1, inner), inner.rpartition(".")[2], axis)
    side = next((word for word in ("encoder", "decoder") if word in found["before"].split(".")), "")
    branch, _, item = found["rest"].rpartition(".")
    cross = any(word in branch for word in ("encoder_attn", "cross", "crossattention"))
    part = "cross" if cross else ("self" if "att" in branch else "ffn")
    return Place(Sublayer(side, int(found["layer"]), part), item, axis)
