"""Selections that rank groups over several couplings at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from tprune.core.selection import Kept, Limits, Scores, keep_best, top_k


@dataclass(frozen=True)
class Ranked:
    """One ranking of all groups, as their scores are.

    Every coupling keeps as many of its own as fall in the best `level`.
    """

    limits: Limits

    def __call__(self, scores: Scores, kinds: Mapping[str, str], level: float) -> Kept:
        """Keep masks by coupling."""
        every = torch.cat([s.flatten() for s in scores.values()])
        best = torch.split(top_k(every, round(level * len(every))), [s.numel() for s in scores.values()])
        return {
            name: keep_best(s, self.limits.round(float(own.sum()), s.numel(), kinds[name], name))
            for (name, s), own in zip(scores.items(), best, strict=True)
        }


@dataclass(frozen=True)
class RankedByKind:
    """A ranking of heads and one of FFN units, the same share of both: for scores that cannot be compared between
    kinds.
    """

    limits: Limits

    def __call__(self, scores: Scores, kinds: Mapping[str, str], level: float) -> Kept:
        """Keep masks by coupling."""
        kept: Kept = {}
        for kind in sorted(set(kinds.values())):
            mine = {name: s for name, s in scores.items() if kinds[name] == kind}
            if mine:
                kept |= Ranked(self.limits)(mine, kinds, level)
        return kept
