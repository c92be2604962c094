"""Timing plans against their model, side by side: exports that write as many tokens, in rounds until all converge."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

from tprune.bench.harness import BenchResult, Workload, bench_all
from tprune.bench.statistics import half_width, median_interval
from tprune.core.plan import Plan
from tprune.costs.latency.table import TIMED, LatencyTable, Ratios, Times, TimingConfig
from tprune.realise.shrink import shrink
from tprune.runtimes.artefact import read_translation
from tprune.runtimes.export import export
from tprune.runtimes.runtime import runtime_named
from tprune.runtimes.translator import Translator
from tprune.support.activity import doing
from tprune.support.errors import NoisyMachineError
from tprune.support.machine import machine
from tprune.support.reporting import Report, counted

CONVERGED = 0.06  # relative half width of the 95 % interval of a ratio, at most
USELESS = 0.25  # relative half width above which a ratio is refused
MOST_ROUNDS = 8  # times the rounds of the configuration, for a ratio that has not converged
DENSE = 0.1  # relative half width of the 95 % interval of the dense model's own time, at most
MOST_DENSE = 3  # times the rounds of the configuration, for the dense model's own time
BLOCK = 4  # rounds between two checks
COPIES = 2  # more of the dense model in every round: all ratios have its time in them, and its noise
TOGETHER = 24  # plans side by side, at most
MEMORY = 4e9  # bytes for all processes beside each other,
PROCESS, HELD = 8e7, 2.0  # of which each takes so many, and so many times its files


def relative_half_width(ratios: Ratios) -> float:
    """Half the width of the 95 % interval of a sentence's median ratio, relative to its middle."""
    return half_width(median_interval(ratios["sentence"]))


def converged(ratios: Ratios, setting: TimingConfig) -> bool:
    """Whether a plan was timed in at least `rounds` rounds, and its relative half width is at most `CONVERGED`."""
    return len(ratios["sentence"]) >= setting.rounds and relative_half_width(ratios) <= CONVERGED


def given_up(ratios: Ratios, setting: TimingConfig) -> bool:
    """Whether a plan was timed in the most rounds that are allowed, and has not converged."""
    return len(ratios["sentence"]) >= MOST_ROUNDS * setting.rounds and not converged(ratios, setting)


class Timer:
    """Times plans of one model against it, exported into a folder of its own; the dense model is exported once.

    All exports write as many tokens as the dense model does on average (or `tokens`, where given), so that sentences
    differ in nothing but the model. At most `together` plans should be timed side by side: their processes share the
    memory.
    """

    def __init__(
        self, model: Any, tokenizer: Any, sentences: Sequence[str], setting: TimingConfig, folder: Path, tokens: int | None = None,
        report: Report = lambda text: None,
    ) -> None:  # fmt: skip
        self.model, self.sentences, self.setting, self.folder = model, sentences, setting, folder
        self.report: Report = report
        self._export = partial(
            export, tokenizer=tokenizer, sentences=sentences[:1], runtime=runtime_named(setting.runtime)
        )
        dense = folder / "dense"
        with doing("exporting the dense model, to be timed"):
            self._export(model, out=dense)
        with doing("translating a few sentences, for how long they are"):
            self.tokens = self._tokens(dense) if tokens is None else tokens
        layout, longest = read_translation(dense), self.tokens + 1  # with the start token
        dataclasses.replace(
            layout, generation=dataclasses.replace(layout.generation, min_length=longest, max_length=longest)
        ).write(dense)
        room = int(MEMORY / (PROCESS + HELD * sum(file.stat().st_size for file in dense.iterdir())))
        self._copies = min(COPIES, max(0, room - 2))
        self.together = min(TOGETHER, max(1, room - 1 - self._copies))

    def dense(self, key: str) -> LatencyTable:
        """A table without plans: the dense model's times, tokens and memory.

        Rounds are added while they differ too much; `dense_spread` says whether they still do, and the user is warned then.
        """
        rounds: dict[str, list[float]] = {name: [] for name in TIMED}
        memory, asked = 0, self.setting.rounds
        while len(rounds["sentence"]) < MOST_DENSE * asked:
            found = self._bench({"again": self.folder / "dense"}, BLOCK if rounds["sentence"] else asked)["again"]
            memory = max(memory, int(found.footprint["dense"].peak_memory))
            for name in TIMED:
                rounds[name] += found.rounds_ms["dense"][name]
            if half_width(median_interval(rounds["sentence"])) <= DENSE:
                break
        encoder, sentence = (median(rounds[name]) for name in TIMED)
        off = half_width(median_interval(rounds["sentence"]))
        if off > DENSE:
            self.report(
                f"warning: the dense model takes {sentence:.3g} ms a sentence ±{off:.0%}, more than ±{DENSE:.0%}: something else keeps this "
                "machine busy. The time is used in this run and not kept"
            )
        times = Times(encoder, (sentence - encoder) / self.tokens, sentence)
        return LatencyTable(key, self.setting, times, self.tokens, (), machine(), memory, dense_spread=off)

    def times(self, plan: Plan, table: LatencyTable) -> Times:
        """A plan's measured times, of sentences as long as the dense model writes them. Raises `NoisyMachineError`."""
        return table.times(self.compare(shrink(self.model, plan), "the plan"))

    def compare(self, other: Any, what: str, tokenizer: Any = None) -> dict[str, float]:
        """Dense over another model's time of encoder and sentence; more rounds are added while the interval is wide.

        One that stays somewhat wide is used with a warning.

        Args:
            other: a model.
            what: its name, for the error.
            tokenizer: the other model's, where it has its own.

        Raises:
            NoisyMachineError: it stayed too wide to say anything.
        """
        own = {} if tokenizer is None else {"tokenizer": tokenizer}
        with doing(f"exporting {what}, to be timed"):
            self._export(self._as_long(other), out=self.folder / "pruned", **own)
        *_, (ratios,) = self._until_converged({what: self.folder / "pruned"})
        return {name: median(ratios[name]) for name in TIMED}

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
        exported = counted(self._export, len(plans), self.report, "plans exported")
        for name, plan in plans.items():
            exported(self._as_long(shrink(self.model, plan)), out=folders[name])
        yield from self._until_converged(folders, known)

    def _until_converged(self, folders: Mapping[str, Path], known: Sequence[Ratios] = ()) -> Iterator[Sequence[Ratios]]:
        found: Sequence[Ratios] = known or [dict.fromkeys(TIMED, ()) for _ in folders]
        while not all(converged(each, self.setting) or given_up(each, self.setting) for each in found):
            block = self._block(folders)
            found = [
                {name: (*each[name], *more[name]) for name in TIMED} for each, more in zip(found, block, strict=True)
            ]
            yield found
        noisy = {what: each for what, each in zip(folders, found, strict=True) if given_up(each, self.setting)}
        if noisy:
            self._say_noisy(noisy)

    def _say_noisy(self, noisy: Mapping[str, Ratios]) -> None:
        """Warns of times that vary too much to be kept. Raises `NoisyMachineError` for times that vary too much to be used."""
        what = max(noisy, key=lambda each: relative_half_width(noisy[each]))
        others = f" (and {len(noisy) - 1} more)" if len(noisy) > 1 else ""
        message = (
            f"{what}{others}: the ratio to the dense model varies by {relative_half_width(noisy[what]):.1%} over {len(noisy[what]['sentence'])} rounds, more "
            f"than {CONVERGED:.0%}"
        )
        if relative_half_width(noisy[what]) > USELESS:
            raise NoisyMachineError(
                f"{message}; stop other work on this machine and give the command again; what is measured already is kept"
            )
        self.report(
            f"warning: {message}: something else keeps this machine busy. The time is used in this run and not kept"
        )

    def _block(self, folders: Mapping[str, Path]) -> list[Ratios]:
        """A few rounds of all folders; a round's dense time is the mean of all copies of the dense model."""
        copies = {f"dense {i}": self.folder / "dense" for i in range(1, self._copies + 1)}
        results = self._bench({**folders, **copies}, BLOCK)

        def of(name: str) -> list[Ratios]:
            slower = [[1 / x for x in results[each].ratios[name]] for each in copies]
            dense = [mean((1.0, *each)) for each in zip(*slower, strict=True)] or [1.0] * BLOCK
            return [
                {name: tuple(x * d for x, d in zip(results[each].ratios[name], dense, strict=True))} for each in folders
            ]

        return [{**encoder, **sentence} for encoder, sentence in zip(*map(of, TIMED), strict=True)]

    def _bench(self, sides: Mapping[str, Path], rounds: int) -> dict[str, BenchResult]:
        how = self.setting
        work = Workload(how.source, 0, 1, how.sentences, TIMED)
        return bench_all(self.folder / "dense", sides, self.sentences, how.threads, how.batch, rounds, work)

    def _as_long(self, model: Any) -> Any:
        """A copy that writes `tokens` tokens for every sentence."""
        twin = copy.deepcopy(model).eval()
        config = twin.generation_config
        config.min_length = config.max_length = self.tokens + 1  # with the start token
        config.max_new_tokens = config.min_new_tokens = None
        return twin

    def _tokens(self, folder: Path) -> int:
        """How many tokens the model writes for a sentence, on average."""
        translator = Translator.load(folder)
        some = self.sentences[:: max(1, len(self.sentences) // self.setting.sentences)][: self.setting.sentences]
        written = translator.generate(translator.encode(some), beams=1)
        return max(1, round(sum(map(len, written)) / len(written)))
