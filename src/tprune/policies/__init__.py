"""Policies: who fills in the kept groups of a plan, so that what is asked for is reached."""

from tprune.policies.size import UNITS, Target, keep_largest, norm_scores, select_size, select_to, size_after

__all__ = ["UNITS", "Target", "keep_largest", "norm_scores", "select_size", "select_to", "size_after"]
