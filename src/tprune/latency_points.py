"""Measuring latency tables: which points a budget needs, the exported models they are timed on, and the cache that keeps them."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from tprune.bench import BenchResult, Work, bench, median_interval
from tprune.coupling import Groups, bind
from tprune.errors import NoisyMachineError
from tprune.files import write_json
from tprune.latency import FORMAT, MODEL, LatencyTable, Point, Setting, Times
from tprune.latency_fit import smoothed
from tprune.machine import machine, version_of
from tprune.models import couplings, family_of
from tprune.plan import Plan, fingerprint, make_plan
from tprune.progress import Report, minutes
from tprune.realise.shrink import shrink
from tprune.runtimes.export import export
from tprune.runtimes.folder import read_layout
from tprune.runtimes.runtime import runtime_named
from tprune.runtimes.translate import Translator
from tprune.select import keep_best, lines_of
from tprune.sublayers import READS_SOURCE, place_of

# Times are nearly straight lines but for the jump where a sublayer goes; every point is an export and a measurement
SHARES: Mapping[str, Sequence[float]] = {
    "ffn": (0.5, 0.25), "heads": (0.5, 0.25), "qk": (0.5,), "vo": (0.5,), "width": (0.75, 0.5),
}  # fmt: skip
STEADY = 0.06  # how far a point's 95 % interval may reach from its middle
TRIES = (1, 1, 2, 4)  # so many times a setting's rounds are added, while it reaches farther
ANCHORS = (0.6, 0.3, 0.1)  # everything that is asked for cut to these shares, to see how savings add up
EVEN = 8
TIMED = ("encoder", "sentence")


@dataclass(frozen=True)
class Variant:
    """A model to time: one kind cut to one share at one place, in `layers` layers; `plan` says how."""

    place: str
    kind: str
    share: float
    plan: Plan
    layers: int

    def __str__(self) -> str:
        return f"{self.place} {self.kind} at {self.share:.0%}"


def variants(model: Any, kinds: Sequence[str] = ("ffn", "heads"), removal: bool = True) -> Iterator[Variant]:
    """The points that a budget over these kinds of couplings needs.

    With `removal`, or kind `sublayer`, also every place with nothing left. Of what reads the source the last layer stays then:
    a decoder without it would not read.
    """
    if asked := [kind for kind in kinds if kind != "sublayer"]:
        for members in _by_place(model, asked).values():
            kind, lines = members[0].coupling.kind, lines_of(members[0].norms)
            sizes = {max(1, round(share * lines)) for share in SHARES.get(kind, ())}
            for kept in sorted(sizes - {lines}):
                yield _variant(model, members, kind, kept)
    emptied = ("ffn", "heads") if "sublayer" in kinds else tuple(k for k in asked if k in ("ffn", "heads"))
    if emptied and (removal or "sublayer" in kinds):
        for (place, _), members in _by_place(model, emptied).items():
            if some := members[:-1] if place == READS_SOURCE else members:
                yield _variant(model, some, "sublayer", 0)


def _by_place(model: Any, kinds: Sequence[str]) -> dict[tuple[str, str], list[Groups]]:
    found: dict[tuple[str, str], list[Groups]] = {}
    for groups in bind(couplings(model, kinds), model):
        kind = groups.coupling.kind
        place = MODEL if kind == "width" else place_of(groups.coupling.name)
        found.setdefault((place, kind), []).append(groups)
    return found


def _variant(model: Any, members: Sequence[Groups], kind: str, kept: int) -> Variant:
    place = MODEL if kind == "width" else place_of(members[0].coupling.name)
    plan = make_plan(model, family_of(model).name, [groups.coupling for groups in members])
    masks = {groups.coupling.name: keep_best(torch.ones(groups.shape), kept) for groups in members}
    share = kept / lines_of(members[0].norms)
    return Variant(place, kind, share, plan.with_kept(masks, {}, {}), len(members))


def key_of(model: Any, setting: Setting) -> str:
    """What a table is valid for: this model's shapes, runtime and its version, processor and setting."""
    here, never = machine(), len(model.generation_config.suppress_tokens or ())
    about = [version_of(runtime_named(setting.runtime).package), here["cpu"], here["cores"], asdict(setting)]
    parts = [FORMAT, fingerprint(model), never, *about]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def measured(
    model: Any, tokenizer: Any, sentences: Sequence[str], setting: Setting, cache: Path,
    report: Report = lambda text: None, kinds: Sequence[str] = ("ffn", "heads"), removal: bool = True,
    check: Callable[[Timer, LatencyTable], None] = lambda timer, table: None,
) -> LatencyTable:  # fmt: skip
    """The latency table of a model on this machine; points that `cache` (a folder) has are not measured again.

    Every point is kept as soon as it is measured, so that a run that was stopped, or one that asks for more kinds, measures only
    what is missing. What is kept is what was measured; what is given back is less noisy, see `tprune.latency_fit`.

    Args:
        model: a trained dense model.
        tokenizer: its own.
        sentences: source sentences, for the tokens and the time of whole ones.
        setting: threads, batch and lengths.
        cache: where tables are kept, one file each.
        report: is told about each point.
        kinds: of couplings whose sizes are to be known; none for the dense model alone.
        removal: whether sublayers may also be left with nothing.
        check: is called once the dense model's times are known, before what is missing is measured; may raise.

    Raises:
        NoisyMachineError: a point stayed unsteady; says by how much.
        InputError: the model has no coupling of a kind.
    """
    path = cache / f"{key_of(model, setting)}.json"
    table = LatencyTable.load(path) if path.exists() else None
    known = {(p.place, p.kind, p.share) for p in table.points} if table else set()
    missing = [v for v in variants(model, kinds, removal) if (v.place, v.kind, v.share) not in known]
    if table and not missing:
        return smoothed(table, model)
    with tempfile.TemporaryDirectory() as folder:
        timer = Timer(model, tokenizer, tuple(sentences), setting, Path(folder))
        if table is None:
            table = timer.dense()
            write_json(path, table.to_json())
        check(timer, table)
        start = time.monotonic()
        for number, variant in enumerate(missing):
            pace = (time.monotonic() - start) / max(1, number)
            left = f", about {minutes(pace * (len(missing) - number))} left" if number else ""
            report(f"{variant} ({number + 1} of {len(missing)}{left})")
            ratios = timer.ratios(variant.plan, str(variant))
            times = timer.from_ratios(ratios, table)
            saved = (table.dense.encoder - times.encoder, table.dense.token - times.token)
            point = Point(variant.place, variant.kind, variant.share, *(each / variant.layers for each in saved))
            table = dataclasses.replace(table, points=(*table.points, point))
            write_json(path, table.to_json())
        for plan in () if table.anchors or not kinds else whole_plans(model, kinds):
            report("everything cut at once")
            table = table.with_anchor(plan, timer.times(plan, table))
            write_json(path, table.to_json())
    return smoothed(table, model)


def whole_plans(model: Any, kinds: Sequence[str]) -> Iterator[Plan]:
    """Plans that cut heads, dimensions and units everywhere to the same share, to sizes that products are fast at."""
    chosen = [kind for kind in kinds if kind not in ("sublayer", "width")] or ["ffn", "heads"]
    plan = make_plan(model, family_of(model).name, couplings(model, chosen))
    for share in ANCHORS:
        each = share if len(chosen) < 3 else share**0.5  # heads and their dimensions multiply
        masks = {e.coupling.name: keep_best(torch.ones(e.groups), _even(each * e.groups[-1])) for e in plan.entries}
        yield plan.with_kept(masks, {}, {})


def _even(size: float) -> int:
    """A multiple of 8, as a selection would choose it: 25 lines take as long as 32."""
    return max(1, EVEN * round(size / EVEN) if size > EVEN else round(size))


class Timer:
    """Times plans of one model against it, exported into a folder of its own; the dense model is exported once.

    All exports write as many tokens as the dense model does on average (or as `tokens` says), so that sentences differ in nothing
    but the model.
    """

    def __init__(
        self, model: Any, tokenizer: Any, sentences: Sequence[str], setting: Setting, folder: Path, tokens: int | None = None
    ) -> None:  # fmt: skip
        self.model, self.sentences, self.setting, self.folder = model, sentences, setting, folder
        self._export = partial(
            export, tokenizer=tokenizer, sentences=sentences[:1], runtime=runtime_named(setting.runtime)
        )
        dense = folder / "dense"
        self._export(model, out=dense)
        self.tokens = self._tokens(dense) if tokens is None else tokens
        layout, longest = read_layout(dense), self.tokens + 1  # with the start token
        dataclasses.replace(
            layout, generation=dataclasses.replace(layout.generation, min_length=longest, max_length=longest)
        ).write(dense)

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

    def dense(self) -> LatencyTable:
        """A table without points: the dense model's times, tokens and memory."""
        folder = self.folder / "dense"
        found = self._bench(folder, folder, self.setting.rounds)
        encoder, sentence = (float(found.latency_ms["dense"][name]) for name in TIMED)
        times = Times(encoder, (sentence - encoder) / self.tokens, sentence)
        memory = int(found.footprint["dense"].peak_memory)
        return LatencyTable(key_of(self.model, self.setting), self.setting, times, self.tokens, (), machine(), memory)

    def ratios(self, plan: Plan, what: str) -> dict[str, float]:
        """Dense over pruned time of encoder and sentence. Raises `NoisyMachineError`."""
        return self.compare(shrink(self.model, plan), what)

    def compare(self, other: Any, what: str, tokenizer: Any = None) -> dict[str, float]:
        """Dense over another model's time of encoder and sentence; more rounds are added while the interval is wide.

        Args:
            other: a model.
            what: its name, for the error.
            tokenizer: the other model's, where it has its own.

        Raises:
            NoisyMachineError: it stayed wide.
        """
        own = {} if tokenizer is None else {"tokenizer": tokenizer}
        self._export(self._as_long(other), out=self.folder / "pruned", **own)
        ratios: dict[str, list[float]] = {name: [] for name in TIMED}
        spread = math.inf
        for times in TRIES:
            found = self._bench(self.folder / "dense", self.folder / "pruned", self.setting.rounds * times)
            for name in TIMED:
                ratios[name] += found.ratios[name]
            low, high = median_interval(ratios["sentence"])
            spread = (high - low) / (high + low)
            if spread <= STEADY:
                return {name: statistics.median(each) for name, each in ratios.items()}
        raise NoisyMachineError(
            f"{what}: the ratio to the dense model varies by {spread:.1%} over {len(ratios['sentence'])} rounds, more than "
            f"{STEADY:.0%}; stop other work on this machine and give the command again; what is measured already is kept"
        )

    def from_ratios(self, ratios: Mapping[str, float], table: LatencyTable) -> Times:
        """Times, from how many times faster than dense they are."""
        encoder, sentence = (getattr(table.dense, name) / ratios[name] for name in TIMED)
        return Times(encoder, (sentence - encoder) / table.tokens, sentence)

    def times(self, plan: Plan, table: LatencyTable) -> Times:
        """A plan's measured times, of sentences as long as the dense model writes them. Raises `NoisyMachineError`."""
        return self.from_ratios(self.ratios(plan, "the chosen plan"), table)

    def _bench(self, dense: Path, pruned: Path, rounds: int) -> BenchResult:
        how = self.setting
        work = Work(how.source, 0, 1, how.sentences, TIMED)
        return bench(dense, pruned, self.sentences, how.threads, how.batch, rounds, work)
