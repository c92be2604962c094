"""Measured latency: what each kind of sublayer costs at each size, in place, on this machine; and from it any plan's time.

Every point of a table is the whole exported model with one kind of sublayer cut to one size in all layers, timed against the
dense model in turns. Caches and fixed costs are therefore those of the real graph. Between points times are interpolated, and
the savings of different sublayers are added.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tprune.bench import RUNTIME, Work, bench
from tprune.coupling import Coupling, bind
from tprune.errors import InputError, NoisyMachineError
from tprune.files import read_json, write_json
from tprune.machine import machine, versions
from tprune.models import couplings, family_of
from tprune.plan import Plan, fingerprint, make_plan
from tprune.realise.shrink import shrink
from tprune.runtimes.onnx_export import export
from tprune.select import keep_best

SHARES = (0.75, 0.5, 0.25, 0.0)
STEADY = 0.06  # how far a point's 95 % interval may reach from its middle
TRIES = 3
PLACE = re.compile(
    r"(?:^|\.)(encoder|decoder)\.layers\.\d+\.(.+)\.(heads|qk|vo|sublayer)$|(?:^|\.)(encoder|decoder)\.layers\.\d+\.(ffn)$"
)


@dataclass(frozen=True)
class Setting:
    """What is timed: `source` tokens in, a decoder step after `past` tokens, with `threads` and `batch` sentences at once."""

    threads: int = 1
    batch: int = 1
    source: int = 15
    past: int = 8
    rounds: int = 8
    sentences: int = 20


@dataclass(frozen=True)
class Times:
    """Milliseconds of an encoder pass, a decoder step, and a whole sentence."""

    encoder: float
    decoder_step: float
    sentence: float


@dataclass(frozen=True)
class Point:
    """One kind of sublayer (`decoder.ffn`) at one share of its size: milliseconds saved per layer, in encoder and step."""

    place: str
    share: float
    encoder: float
    decoder_step: float


@dataclass(frozen=True)
class LatencyTable:
    """Times of the dense model and what its sublayers save when they are cut; see the module.

    `tokens` are written per sentence; `overhead` is what a sentence takes per token beside its decoder step, in ms.
    """

    key: str
    setting: Setting
    dense: Times
    tokens: float
    overhead: float
    points: tuple[Point, ...]
    machine: Mapping[str, Any]

    def saved(self, place: str, share: float) -> tuple[float, float]:
        """Milliseconds that one sublayer at this share of its size saves in the encoder and in a decoder step.

        Raises:
            InputError: a place that was not measured.
        """
        mine = sorted((p for p in self.points if p.place == place), key=lambda p: p.share)
        if not mine:
            known = ", ".join(sorted({p.place for p in self.points}))
            raise InputError(f"the latency table has no {place}; measured are {known}")
        shares = [*(p.share for p in mine), 1.0]
        return (
            float(np.interp(share, shares, [*(p.encoder for p in mine), 0.0])),
            float(np.interp(share, shares, [*(p.decoder_step for p in mine), 0.0])),
        )

    def predict(self, shares: Mapping[str, float]) -> Times:
        """Times of a model whose sublayers, by name, keep these shares of their size; the others are whole."""
        saved = [self.saved(place_of(name), share) for name, share in shares.items()]
        encoder = self.dense.encoder - sum(e for e, _ in saved)
        step = self.dense.decoder_step - sum(d for _, d in saved)
        return Times(encoder, step, encoder + self.tokens * (step + self.overhead))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @staticmethod
    def load(path: Path) -> LatencyTable:
        """Reads a table back. Raises `InputError` naming the file."""
        data = read_json(path)
        try:
            return LatencyTable(
                data["key"], Setting(**data["setting"]), Times(**data["dense"]), float(data["tokens"]), float(data["overhead"]),
                tuple(Point(**point) for point in data["points"]), data["machine"],
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: no latency table ({type(error).__name__}: {error}); delete it to measure again"
            ) from None


def place_of(name: str) -> str:
    """The kind of sublayer a coupling lies in, whatever its layer. Raises `InputError` for one without a place.

    Example:
        >>> place_of("model.decoder.layers.2.encoder_attn.heads"), place_of("model.encoder.layers.0.ffn")
        ('decoder.encoder_attn', 'encoder.ffn')
    """
    found = PLACE.search(name.replace(".ffn.sublayer", ".ffn"))
    if not found:
        raise InputError(f"{name} lies in no sublayer whose time can be predicted")
    side, sublayer = found[1] or found[4], found[2] or found[5]
    return f"{side}.{sublayer}"


def shares_of(plan: Plan) -> dict[str, float]:
    """The share of its size that every sublayer in a selected plan keeps, by a coupling's name that lies in it.

    Several couplings of one sublayer multiply (heads, and the mean of their query-key and value-output dimensions).

    Raises:
        InputError: a coupling that lies in no sublayer, such as the residual width.
    """
    kinds: dict[str, dict[str, float]] = {}
    names: dict[str, str] = {}
    for entry in plan.entries:
        place_of(entry.coupling.name)
        sublayer = re.sub(r"\.(heads|qk|vo|sublayer)$", "", entry.coupling.name)
        names.setdefault(sublayer, entry.coupling.name)
        share = len(entry.kept if entry.kept is not None else range(math.prod(entry.groups))) / math.prod(entry.groups)
        kinds.setdefault(sublayer, {})[entry.coupling.kind] = share
    return {
        names[sublayer]: math.prod(by.get(k, 1.0) for k in ("ffn", "heads", "sublayer")) * (by.get("qk", 1.0) + by.get("vo", 1.0)) / 2
        for sublayer, by in kinds.items()
    }  # fmt: skip


def key_of(model: Any, setting: Setting) -> str:
    """What a table is valid for: this model's shapes, runtime version, processor and setting."""
    here = machine()
    parts = [fingerprint(model), RUNTIME, versions().get(RUNTIME), here["cpu"], here["cores"], asdict(setting)]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def measured(
    model: Any, tokenizer: Any, sentences: Sequence[str], setting: Setting, cache: Path,
    report: Callable[[str], None] = lambda text: None,
) -> LatencyTable:  # fmt: skip
    """The latency table of a model on this machine; from `cache` (a folder) where it was measured before.

    Args:
        model: a trained dense model.
        tokenizer: its own.
        sentences: source sentences, for the tokens and the time of whole ones.
        setting: threads, batch and lengths.
        cache: where tables are kept, one file each.
        report: is told about each point.

    Raises:
        NoisyMachineError: a point stayed unsteady; says by how much.
    """
    path = cache / f"{key_of(model, setting)}.json"
    if path.exists():
        return LatencyTable.load(path)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        export(model, tokenizer, work / "dense", sentences[:1])
        whole = Work(setting.source, setting.past, 1, setting.sentences)
        found = bench(work / "dense", work / "dense", sentences, setting.threads, setting.batch, setting.rounds, whole)
        dense = Times(
            **{name: float(found.latency_ms["dense"][name]) for name in ("encoder", "decoder_step", "sentence")}
        )
        tokens = found.footprint["dense"].tokens_per_sentence
        points = []
        for place, share, plan, layers in variants(model):
            report(f"{place} at {share:.0%}")
            export(shrink(model, plan).eval(), tokenizer, work / "pruned", sentences[:1])
            ratios = _steady(work / "dense", work / "pruned", sentences, setting, f"{place} at {share:.0%}")
            saved = [getattr(dense, name) * (1 - 1 / ratio) / layers for name, ratio in ratios.items()]
            points.append(Point(place, share, *saved))
    overhead = (dense.sentence - dense.encoder) / tokens - dense.decoder_step
    table = LatencyTable(key_of(model, setting), setting, dense, tokens, overhead, tuple(points), machine())
    write_json(path, table.to_json())
    return table


def variants(model: Any) -> Iterator[tuple[str, float, Plan, int]]:
    """Every kind of sublayer at every share: its place, the share reached, the plan, and in how many layers it is cut.

    A share of 0 leaves the last layer whole: a decoder without any cross attention would not read its source.
    """
    by_place: dict[str, list[Coupling]] = {}
    sizes: dict[str, int] = {}
    for bound in bind(couplings(model, ("ffn", "heads")), model):
        place = place_of(bound.coupling.name)
        by_place.setdefault(place, []).append(bound.coupling)
        sizes[place] = bound.shape[0]
    for place, members in by_place.items():
        groups = sizes[place]
        for kept in sorted({round(share * groups) for share in SHARES} - {groups}):
            chosen = members if kept else members[:-1]
            if not chosen:
                continue
            plan = make_plan(model, family_of(model).name, chosen)
            mask = keep_best(torch.arange(groups, 0, -1).float(), kept)
            yield place, kept / groups, plan.with_kept({c.name: mask for c in chosen}, {}, {}), len(chosen)


def _steady(dense: Path, pruned: Path, sentences: Sequence[str], setting: Setting, what: str) -> dict[str, float]:
    """Dense over pruned time of encoder and decoder step; measured again, longer, while the interval is wide."""
    spread = math.inf
    for attempt in range(TRIES):
        work = Work(setting.source, setting.past, 1, 1, ("encoder", "decoder_step"))
        found = bench(dense, pruned, sentences, setting.threads, setting.batch, setting.rounds * 2**attempt, work)
        spread = max((high - low) / (high + low) for low, high in found.interval.values())
        if spread <= STEADY:
            return {name: float(ratio) for name, ratio in found.speedup.items()}
    raise NoisyMachineError(
        f"{what}: the ratio to the dense model varies by {spread:.1%} after {TRIES} tries, more than {STEADY:.0%}; "
        "stop other work on this machine and measure again"
    )
