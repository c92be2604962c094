"""What `tprune.compress` gives back.

It has the smaller model, and in words what was asked for, what was done and what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from tprune.analysis import Analysis
from tprune.budget.allocate import number
from tprune.core.kinds import WHOLE_BLOCK, Scope, rule_of
from tprune.core.model import Model
from tprune.core.plan import Plan
from tprune.core.sites import Site
from tprune.core.words import PLAIN, Words
from tprune.costs.latency.table import TimingConfig
from tprune.counting.size import Size
from tprune.realise.certificate import Certificate

SIZES = {"parameters": "parameters", "macs": "multiplications", "bytes": "bytes"}


@dataclass(frozen=True)
class Latencies:
    """Milliseconds of what a time was asked for.

    Attributes:
        dense: of the dense model, measured.
        predicted: of the chosen sizes, by the latency table.
        measured: of the chosen sizes, before their last training, which changes no size; None where only memory was
            asked for.
        setting: runtime, threads and batch that were timed.
        quoted: what was timed: a sentence, a pass, a text.
    """

    dense: float
    predicted: float
    measured: float | None
    setting: TimingConfig
    quoted: str = "sentence"

    def __str__(self) -> str:
        last = self.predicted if self.measured is None else self.measured
        found = "" if self.measured is None else f", measured {self.measured:.3g} ms"
        return (
            f"a {self.quoted}: {self.dense:.3g} ms dense, predicted {self.predicted:.3g} ms{found}: "
            f"{self.dense / last:.2f}x faster ({self.setting.runtime}, {self.setting.threads} thread(s), batch "
            f"{self.setting.batch})"
        )


@dataclass(frozen=True, repr=False)
class Compressed:
    """The smaller model, how it was made, and the proof that cutting changed nothing; prints what really ran.

    Attributes:
        model: the smaller model.
        plan: what each coupling kept.
        certificate: how far the cut model is from the masked one.
        analysis: of the dense model, where one was asked for.
        asked: unit and value.
        dense: size of the dense model.
        predicted: size that the plan was chosen for.
        reached: size of the smaller model.
        steps: of training really done, by stage (`analyze`, `prune`, `recover`).
        losses: on the validation data, in nats per output (a token, a class), of `dense`, `cut` and, where it was
            trained, `recovered`.
        times: where a time was asked for.
        words: what its task calls its examples.
    """

    model: Model
    plan: Plan
    certificate: Certificate
    analysis: Analysis | None
    asked: tuple[str, float]
    dense: Size
    predicted: Size
    reached: Size
    steps: Mapping[str, int]
    losses: Mapping[str, float]
    times: Latencies | None = None
    words: Words = PLAIN

    def __str__(self) -> str:
        unit, value = self.asked
        lines = [f"asked for: {unit} {number(value)}"]
        for name, label in SIZES.items():
            dense, predicted, reached = (getattr(found, name) for found in (self.dense, self.predicted, self.reached))
            said = "" if predicted == reached else f", predicted {predicted:,}"
            lines.append(f"{label}: {dense:,} to {reached:,} ({reached / dense:.0%}{said})")
        if self.times is not None:
            lines.append(str(self.times))
        if "memory_mb" in self.plan.reached:
            lines.append(f"peak memory: predicted {self.plan.reached['memory_mb']:.1f} MB; `tprune bench` measures it")
        lines.append(f"kept: {', '.join(f'{kind} {k:,} of {n:,}' for kind, (k, n) in self.kept.items())}")
        lines.append(f"training: {self._trained()}")
        lines.append(
            "validation loss: "
            + ", ".join(f"{n} {x:.3f}" for n, x in self.losses.items())
            + f" nats per {self.words.output}"
        )
        c = self.certificate
        lines.append(
            f"certificate: cut and masked model differ by {max(c.forward, c.generation):.1e} of the largest logit "
            f"(limit {c.limit:g}), over {self.words.count(c.sentences)}"
        )
        return "\n".join(lines)

    __repr__ = __str__

    @property
    def kept(self) -> dict[str, tuple[int, int]]:
        """Groups that stayed, and how many there were, by kind of coupling.

        What lies in a removed block has gone with it.
        """
        found: dict[str, tuple[int, int]] = {}
        masks: dict[tuple[Site | None, str], Tensor] = {
            (e.coupling.site, e.coupling.kind): e.keep for e in self.plan.entries if e.coupling.site is not None
        }
        for entry in self.plan.entries:
            site, kind, keep = entry.coupling.site, entry.coupling.kind, entry.keep
            rule = rule_of(kind)
            outer = masks.get((site, rule.within)) if rule.within else None
            whole = masks.get((site, WHOLE_BLOCK)) if rule.scope is Scope.PART else None
            if outer is not None:
                keep = keep & outer.unsqueeze(-1)
            if whole is not None:
                keep = keep & whole
            before = found.get(kind, (0, 0))
            found[kind] = (before[0] + int(keep.sum()), before[1] + keep.numel())
        return found

    def _trained(self) -> str:
        names = {"analyze": "analysis", "prune": "while pruning", "recover": "recovery"}
        done = [f"{steps:,} steps ({names[stage]})" for stage, steps in self.steps.items() if steps]
        if self.steps.get("prune") or self.steps.get("recover"):
            return ", ".join(done)
        return "one shot, no training of the smaller model" + (f"; {', '.join(done)}" if done else "")
