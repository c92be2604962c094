"""The kinds of couplings."""

from __future__ import annotations

from typing import Literal

Kind = Literal["ffn", "heads", "qk", "vo", "sublayer", "width", "lines"]
