"""BSSL and what follows from it: which parts of a model give way, before anything is pruned."""

from tprune.analysis.ablation import ablation_losses, with_ablation_losses
from tprune.analysis.advice import Advice, advise, coupling_weights
from tprune.analysis.blocks import BlockShape
from tprune.analysis.bssl import analyse
from tprune.analysis.record import Analysis, Component, Point, Reading

__all__ = [
    "Advice",
    "Analysis",
    "BlockShape",
    "Component",
    "Point",
    "Reading",
    "ablation_losses",
    "advise",
    "analyse",
    "coupling_weights",
    "with_ablation_losses",
]
