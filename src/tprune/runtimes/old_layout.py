"""Exported folders of format 1, which are all of translation models, as format 2 describes them."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

from tprune.core.caches import Caches, LayerCache, translation_signatures
from tprune.runtimes.layout import FORMAT, Layout
from tprune.support.manifest import Manifest

SIZES = {"layer": 1000, "heads": 10_000, "key": 1_000_000, "value": 1_000_000}  # the largest of a layer's cache
PHASES = ("encoder", "decoder_step", "sentence")


class ImpossibleError(ValueError):
    """A number that no export writes."""


def upgraded(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The content of a `generation.json` as that of a `layout.json`; what is no format 1 stays as it is.

    Raises:
        ImpossibleError: a size that no export writes, by its name.
    """
    if raw["format"] != 1:
        return raw
    graphs = translation_signatures(_caches(raw, "cross"), _caches(raw, "past"))
    known = Layout(task="translation", phases=PHASES, graphs=graphs, parameters=0, macs=0, files=Manifest({})).to_dict()
    given = {key: value for key, value in raw.items() if key not in ("cross", "past")}
    return {**known, "rows": [], **given, "format": FORMAT}


def _caches(raw: Mapping[str, Any], kind: str) -> Caches:
    found = tuple(LayerCache(**each) for each in raw[kind])
    for layer in found:
        for size, most in SIZES.items():
            value = getattr(layer, size)
            if type(value) is not int or not 0 <= value <= most:
                raise ImpossibleError(
                    f"{kind}.{size} is {reprlib.repr(value)}; expected a whole number of 0 to {most:,}"
                )
    return found
