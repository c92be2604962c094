"""BSSL and what follows from it: which parts of a model give way, before anything is pruned."""

from tprune.analysis.advice import worth
from tprune.analysis.blocks import Blocks
from tprune.analysis.bssl import analyse
from tprune.analysis.record import Analysis, Component, Point, Reading

__all__ = ["Analysis", "Blocks", "Component", "Point", "Reading", "analyse", "worth"]
