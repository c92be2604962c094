"""BSSL and what follows from it: which parts of a model give way, before anything is pruned."""

from tprune.analysis.ablation import harms, with_harms
from tprune.analysis.advice import Advice, advise, worth
from tprune.analysis.blocks import Blocks
from tprune.analysis.bssl import analyse
from tprune.analysis.record import Analysis, Component, Point, Reading

__all__ = [
    "Advice",
    "Analysis",
    "Blocks",
    "Component",
    "Point",
    "Reading",
    "advise",
    "analyse",
    "harms",
    "with_harms",
    "worth",
]
