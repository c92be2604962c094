"""Timing plans against their model, side by side: exports that do the same work, in rounds until all converge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, median

import psutil

from tprune.bench.harness import BenchResult, bench_all
from tprune.bench.statistics import half_width, median_interval
from tprune.core.model import Model, Tokenizer
from tprune.core.plan import Plan
from tprune.core.precision import Precision
from tprune.core.task import Task
from tprune.costs.latency.exports import export_plans
from tprune.costs.latency.phases import Phases, Times
from tprune.costs.latency.subject import Inputs, subject_of
from tprune.costs.latency.table import LatencyTable, Ratios, TimingConfig
from tprune.realise.shrink import shrink
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.runtime import Slow, runtime_named
from tprune.support.activity import doing
from tprune.support.errors import NoisyMachineError
from tprune.support.machine import machine
from tprune.support.reporting import Report

CONVERGED = 0.06  # relative half width of the 95 % interval of a ratio, at most
CLEARLY = 1.2  # times
USELESS = 0.25  # relative half width above which a ratio is refused
MOST_ROUNDS = 8  # times the rounds of the configuration, for a ratio that has not converged
DENSE = 0.1  # relative half width of the 95 % interval of the dense model's own time, at most
MOST_DENSE = 3  # times the rounds of the configuration, for the dense model's own time
BLOCK = 4  # rounds between two checks
COPIES = 2  # more of the dense model in every round: all ratios have its time in them, and its noise
TOGETHER = 24  # plans side by side, at most
MEMORY = 4e9  # bytes for all processes beside each other, or half of what is free where that is more,
PROCESS, HELD = 8e7, 2.0  # of which each takes so many, and so many times its files


def relative_half_width(ratios: Ratios) -> float:
    """Half the width of the 95 % interval of the quoted time's median ratio, relative to its middle."""
    return half_width(median_interval(quoted_of(ratios)))


def quoted_of(ratios: Ratios) -> Sequence[float]:
    """Of the quoted time, which is the last that is timed."""
    return list(ratios.values())[-1]


def converged(ratios: Ratios, setting: TimingConfig) -> bool:
    """Whether a plan was timed in at least `rounds` rounds, and its relative half width is at most `CONVERGED`."""
    return len(quoted_of(ratios)) >= setting.rounds and relative_half_width(ratios) <= CONVERGED


def apart(ratios: Ratios, against: float) -> bool:
    """Whether the quoted time's ratio clearly differs from another: `CLEARLY` beyond the end of its 95 % interval.

    Example:
        >>> apart({"sentence": [4.0, 4.4, 3.8, 4.1]}, 2.0), apart({"sentence": [4.0, 4.4, 3.8, 4.1]}, 3.7)
        (True, False)
    """
    low, high = median_interval(quoted_of(ratios))
    return not low / CLEARLY <= against <= high * CLEARLY


def given_up(ratios: Ratios, setting: TimingConfig) -> bool:
    """Whether a plan was timed in the most rounds that are allowed, and has not converged."""
    return len(quoted_of(ratios)) >= MOST_ROUNDS * setting.rounds and not converged(ratios, setting)


class Timer:
    """Times plans of one model against it, exported into a folder of its own; the dense model is exported once.

    All exports do the same work, so that they differ in nothing but the model: sentences get as many tokens as the
    dense model writes on average (or `tokens`, where given), others are timed on the same batches. At most `together`
    plans should be timed side by side: their processes share the memory.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer | None,
        inputs: Inputs,
        setting: TimingConfig,
        folder: Path,
        tokens: int | None = None,
        report: Report = lambda text: None,
        task: Task | None = None,
    ) -> None:
        self.model, self.setting, self.folder = model, setting, folder
        self.report: Report = report
        dense = folder / "dense"
        self.subject = subject_of(model, tokenizer, inputs, setting, dense, tokens, task)
        room = int(
            max(MEMORY, psutil.virtual_memory().available / 2)
            / (PROCESS + HELD * sum(file.stat().st_size for file in dense.iterdir()))
        )
        self._copies = min(COPIES, max(0, room - 2))
        self.together = min(TOGETHER, max(1, room - 1 - self._copies))

    @property
    def phases(self) -> Phases:
        """Of the model's time."""
        return self.subject.phases

    def dense(self, key: str) -> LatencyTable:
        """A table without plans: the dense model's times, tokens and memory.

        Rounds are added while they differ too much; `dense_spread` says whether they still do, and the user is warned
        then.
        """
        phases, tokens = self.phases, self.subject.tokens
        rounds: dict[str, list[float]] = {name: [] for name in phases.timed}
        quoted, memory, asked = rounds[phases.quoted], 0, self.setting.rounds
        while len(quoted) < MOST_DENSE * asked:
            found = self._bench({"again": self.folder / "dense"}, BLOCK if quoted else asked)["again"]
            memory = max(memory, int(found.footprint["dense"].peak_memory))
            for name, each in phases.rounds(found.rounds_ms["dense"]).items():
                rounds[name] += each
            if half_width(median_interval(quoted)) <= DENSE:
                break
        times = phases.split({name: median(each) for name, each in rounds.items()}, tokens)
        off = half_width(median_interval(quoted))
        if off > DENSE:
            self.report(
                f"warning: the dense model takes {times.total:.3g} ms a {phases.quoted} ±{off:.0%}, more than "
                f"±{DENSE:.0%}: something else keeps this machine busy. The time is used in this run and not kept"
            )
        return LatencyTable(key, self.setting, times, tokens, (), machine(), memory, dense_spread=off, phases=phases)

    def times(self, plan: Plan, table: LatencyTable, against: float | None = None) -> Times:
        """A plan's measured times, in its own precision if it has one.

        Args:
            plan: selected.
            table: of the dense model's times.
            against: milliseconds; enough is known once the plan is clearly faster or slower than that.

        Raises:
            NoisyMachineError: they stayed too wide to say anything.
        """
        ratio = None if against is None else table.dense.total / against
        return table.times(self.compare(shrink(self.model, plan), "the plan", None, plan.precision, ratio))

    def compare(
        self,
        other: Model,
        what: str,
        tokenizer: Tokenizer | None = None,
        precision: Precision | None = None,
        against: float | None = None,
    ) -> dict[str, float]:
        """Dense over another model's time of each that is timed; more rounds are added while the interval is wide.

        One that stays somewhat wide is used with a warning.

        Args:
            other: a model.
            what: its name, for the error.
            tokenizer: the other model's, where it has its own.
            precision: the other model's, where it is another than that of the configuration.
            against: a ratio; enough is known once that of the quoted time clearly differs from it.

        Raises:
            NoisyMachineError: it stayed too wide to say anything.
        """
        with doing(f"exporting {what}, to be timed"):
            self.subject.export(other, self.folder / "pruned", tokenizer, precision)
        ratios: Ratios = {}
        for (ratios,) in self._until_converged({what: self.folder / "pruned"}):
            if against is not None and apart(ratios, against):
                break
        return {name: median(each) for name, each in ratios.items()}

    def side_by_side(self, plans: Mapping[str, Plan], known: Sequence[Ratios] = ()) -> Iterator[Sequence[Ratios]]:
        """Dense over each plan's times, all in the same rounds, so that they compare; yields after every few rounds.

        Ends when all have converged. One that has not after `MOST_ROUNDS` times the rounds is given up with a warning:
        see `given_up`.

        Args:
            plans: by name.
            known: what is known of them from earlier rounds, in this order.

        Raises:
            NoisyMachineError: one stayed too wide to say anything.
        """
        folders = {name: self.folder / f"plan {number}" for number, name in enumerate(plans)}
        self._say_slow(len(plans))
        export_plans(self.subject, self.model, {folders[name]: plan for name, plan in plans.items()}, self.report)
        yield from self._until_converged(folders, known)

    def _say_slow(self, plans: int) -> None:
        """How long the exports of so many plans take, where that is long."""
        if isinstance(runtime := runtime_named(self.setting.runtime), Slow):
            seconds, graphs = runtime.seconds(self.setting.precision), len(read_layout(self.folder / "dense").graphs)
            self.report(
                f"{runtime.name} takes about {seconds:.0f} s to lower a graph: up to "
                f"{plans * graphs * seconds / 60:.0f} minutes of processor time for {plans} plans"
            )

    def _until_converged(self, folders: Mapping[str, Path], known: Sequence[Ratios] = ()) -> Iterator[Sequence[Ratios]]:
        found: Sequence[Ratios] = known or [dict.fromkeys(self.phases.timed, ()) for _ in folders]
        while left := [n for n, each in enumerate(found) if not self._known(each)]:
            names = [list(folders)[n] for n in left]
            block = dict(zip(left, self._block({name: folders[name] for name in names}), strict=True))
            found = [
                {name: (*each[name], *block[n][name]) for name in self.phases.timed} if n in block else each
                for n, each in enumerate(found)
            ]
            yield found
        noisy = {what: each for what, each in zip(folders, found, strict=True) if given_up(each, self.setting)}
        if noisy:
            self._say_noisy(noisy)

    def _known(self, ratios: Ratios) -> bool:
        """Whether no more rounds are needed."""
        return converged(ratios, self.setting) or given_up(ratios, self.setting)

    def _say_noisy(self, noisy: Mapping[str, Ratios]) -> None:
        """Warns of times that vary too much to be kept.

        Raises `NoisyMachineError` for times that vary too much to be used.
        """
        what = max(noisy, key=lambda each: relative_half_width(noisy[each]))
        others = f" (and {len(noisy) - 1} more)" if len(noisy) > 1 else ""
        message = (
            f"{what}{others}: the ratio to the dense model varies by {relative_half_width(noisy[what]):.1%} over "
            f"{len(quoted_of(noisy[what]))} rounds, more than {CONVERGED:.0%}"
        )
        if relative_half_width(noisy[what]) > USELESS:
            raise NoisyMachineError(
                f"{message}; stop other work on this machine and give the command again; what is measured already is "
                "kept"
            )
        self.report(
            f"warning: {message}: something else keeps this machine busy. The time is used in this run and not kept"
        )

    def _block(self, folders: Mapping[str, Path]) -> list[Ratios]:
        """A few rounds of all folders; a round's dense time is the mean of all copies of the dense model."""
        copies = {f"dense {i}": self.folder / "dense" for i in range(1, self._copies + 1)}
        benched = self._bench({**folders, **copies}, BLOCK)
        results = {each: self._ratios(found) for each, found in benched.items()}

        def of(name: str) -> list[tuple[float, ...]]:
            slower = [[1 / x for x in results[each][name]] for each in copies]
            dense = [mean((1.0, *each)) for each in zip(*slower, strict=True)] or [1.0] * BLOCK
            return [tuple(x * d for x, d in zip(results[each][name], dense, strict=True)) for each in folders]

        rows = zip(*map(of, self.phases.timed), strict=True)
        return [dict(zip(self.phases.timed, row, strict=True)) for row in rows]

    def _ratios(self, found: BenchResult) -> Ratios:
        """Dense over the other model's time of each that is timed."""
        return {name: found.ratios[name] for name in self.phases.timed}

    def _bench(self, sides: Mapping[str, Path], rounds: int) -> dict[str, BenchResult]:
        how, subject = self.setting, self.subject
        return bench_all(
            self.folder / "dense",
            sides,
            subject.sentences,
            how.threads,
            how.batch,
            rounds,
            subject.work,
            subject.inputs,
        )
