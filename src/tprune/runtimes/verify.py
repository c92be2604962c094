"""Whether an exported model that writes computes what the PyTorch model computes: logits, greedy and beam search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from tprune.core.precision import FP32, Precision
from tprune.families.graphs.encoder_decoder import stacks_of
from tprune.families.graphs.positions import AfterPadding
from tprune.runtimes.forced import FED, STEPS, Replay
from tprune.runtimes.parity import LOGIT_TOLERANCE, Agreement, Measured, Where
from tprune.runtimes.report import ExportReport, report_of
from tprune.runtimes.runtime import Searching
from tprune.runtimes.sources import Inputs, Source
from tprune.runtimes.transcriber import Transcriber
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.runtimes.translator import Translator
from tprune.support.errors import CertificateError
from tprune_runtime.batches import padded
from tprune_runtime.decoding import Floats, Ints, constrain, log_probabilities
from tprune_runtime.generation import Generation

TIE = 1e-3  # relative difference of two hypotheses' scores
BATCH = 8

Ids = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Parity:
    """How far logits are apart, and how many sentences agree token for token or but for a tie.

    In precisions that are not exact, sentences that differ are neither.
    """

    logits: Measured
    steps: int
    greedy_equal: int
    greedy_ties: int
    beam_equal: int
    beam_ties: int

    def report(self, inputs: int) -> ExportReport:
        """Of so many sentences or recordings."""
        counts = {name: getattr(self, name) for name in ("greedy_equal", "greedy_ties", "beam_equal", "beam_ties")}
        return replace(report_of(self.logits), sentences=inputs, steps=self.steps, **counts)


@dataclass(frozen=True)
class Reference:
    """The PyTorch model, decoding without a cache: slow, and right whatever was pruned.

    Where the code does not count padding that is written (M2M100), it does so only with a cache, as `generate` has one
    by default; then there is one here, too. Targets are the decoder's numbers.
    """

    model: Any
    layout: TranslationLayout
    source: Source

    @property
    def generation(self) -> Generation:
        """As the decoder numbers its tokens."""
        return self.layout.decoding

    def search(self, inputs: Inputs, beams: int) -> list[list[int]]:
        """transformers' `generate` on one padded batch; without what outputs begin with, up to the end token."""
        begun = len(self.generation.begun)
        with torch.no_grad():
            rows = self.source.generate(
                self.model,
                inputs,
                num_beams=beams,
                use_cache=self.cached,
                max_length=self.generation.max_length,
                return_dict_in_generate=False,
            )
        return [self._cut(self.layout.numbers(row[begun:]).tolist()) for row in rows.tolist()]

    def _cut(self, row: list[int]) -> list[int]:
        ends = [i for i, token in enumerate(row) if token in self.generation.eos_token_id]
        return row[: ends[0] + 1] if ends else row

    def logits(self, inputs: Inputs, targets: Ids) -> Floats:
        """Teacher-forced logits `[B, P + T, V]`: of what outputs begin with (but its last token), and of the targets.

        Those at `P + t` predict `targets[:, t]`.
        """
        with torch.no_grad():
            fed = torch.from_numpy(self.layout.tokens(self.fed(targets)))
            given = {name: torch.from_numpy(x) for name, x in self.source.arrays(inputs).items()}
            found = self._steps(given, fed) if self.cached else self.model(**given, decoder_input_ids=fed).logits
        logits: Floats = found.numpy()
        return logits[..., self.layout.tokens(np.arange(self.layout.writable))]

    @property
    def cached(self) -> bool:
        """Whether it decodes with a cache."""
        return isinstance(stacks_of(self.model).decoder.positions, AfterPadding)

    def _steps(self, source: Mapping[str, torch.Tensor], fed: torch.Tensor) -> torch.Tensor:
        """The logits of one step after the other."""
        cache, found, mask = None, [], source["attention_mask"]
        encoded = self.model.get_encoder()(**source)
        for step in range(fed.shape[1]):
            given = {"decoder_input_ids": fed[:, step : step + 1], "past_key_values": cache, "use_cache": True}
            out = self.model(encoder_outputs=encoded, attention_mask=mask, **given)
            cache = out.past_key_values
            found.append(out.logits)
        return torch.cat(found, 1)

    def fed(self, targets: Ids) -> Ints:
        """What the decoder is fed: what outputs begin with and all but the last target, padded."""
        rows = [[*self.generation.begun, *row[:-1]] for row in targets]
        return padded(rows, self.generation.pad_token_id)[0]

    @property
    def before(self) -> int:
        """How many steps go before the one that predicts the first target."""
        return len(self.generation.begun) - 1

    def score(self, one: Any, target: Sequence[int]) -> float:
        """The hypothesis' beam-search score: summed log-probability / length^length_penalty."""
        g, fed, first = self.generation, self.fed([target]), self.before
        logits = self.logits([one], [target])[0]
        places = range(first, first + len(target))
        steps = (log_probabilities(logits[t : t + 1], fed[:, : t + 1], g)[0] for t in places)
        total = sum(float(step[token]) for step, token in zip(steps, target, strict=True))
        return total / float(len(target) ** g.length_penalty)


def verify(
    model: Any,
    writer: Translator | Transcriber,
    inputs: Inputs,
    source: Source,
    precision: Precision = FP32,
    replay: Replay | None = None,
) -> Parity:
    """Compares on padded batches and one by one.

    Args:
        model: in evaluation mode, float32, on the CPU.
        writer: its export.
        inputs: the ids of sentences that both translate, or features of recordings that both transcribe.
        source: how the encoder is given them.
        precision: of the export.
        replay: forces steps in a fresh process; left out if not given.

    Raises:
        CertificateError: where they differ by more than the precision explains (sentence and step).
    """
    reference, agreement = Reference(model, writer.layout, source), Agreement(precision)
    counts = dict.fromkeys(("greedy_equal", "greedy_ties", "beam_equal", "beam_ties"), 0)
    for first, rows in _batches(inputs):
        targets = reference.search(rows, 1)
        expected = reference.logits(rows, targets)
        _add(agreement, reference, writer, first, rows, targets, expected)
        for i, row in enumerate(rows if len(rows) > 1 else ()):
            single = reference.logits([row], targets[i : i + 1])
            _add(agreement, reference, writer, first + i, [row], targets[i : i + 1], single)
        for name, count in _searched(reference, writer, first, rows, targets, expected, precision.exact):
            counts[name] += count
    steps = 0 if replay is None else _replayed(agreement, reference, inputs, replay)
    return Parity(agreement.check(), steps, **counts)


def _searched(
    reference: Reference,
    writer: Translator | Transcriber,
    first: int,
    rows: Inputs,
    targets: Ids,
    logits: Floats,
    exact: bool,
) -> Iterator[tuple[str, int]]:
    """How many of a batch's outputs are equal, and how many part at a tie, by greedy and by beam search."""
    layout, g = writer.layout, writer.layout.decoding

    def numbered(said: Ids) -> list[list[int]]:
        return [layout.numbers(row).tolist() for row in said]

    beams = g.num_beams if g.num_beams > 1 else 4
    best = reference.search(rows, beams)
    found, searched = numbered(writer.greedy(rows)), numbered(writer.beam(rows, beams))
    yield "greedy_equal", _equal(targets, found)
    yield "beam_equal", _equal(best, searched)
    if exact:
        yield "greedy_ties", _greedy_ties(reference, first, targets, found, logits)
        if isinstance(writer.engine, Searching):
            yield "beam_ties", _own_search(reference, writer.engine, first, rows, best, beams)
        else:
            yield "beam_ties", _beam_ties(reference, first, rows, best, searched)


def _equal(expected: Ids, got: Ids) -> int:
    return sum(list(want) == list(have) for want, have in zip(expected, got, strict=True))


def _replayed(agreement: Agreement, reference: Reference, inputs: Inputs, replay: Replay) -> int:
    """Forced steps from an empty cache, of one sentence and of two, in a process that has done nothing before."""
    length = min(STEPS, reference.layout.limits.get("past", STEPS) - 1)
    some = [*inputs, *inputs][:2]
    written = reference.search(some, 1)
    targets = [_repeated(row, length - reference.before) for row in written]
    jobs = [{**reference.source.arrays(some[:rows]), FED: reference.fed(targets[:rows])} for rows in (1, 2)]
    for rows, got in zip((1, 2), replay(jobs), strict=True):
        expected = reference.logits(some[:rows], targets[:rows])
        everywhere = np.ones(expected.shape[:-1], bool)
        agreement.add(expected, got, everywhere, _place(reference.source.one, 0, rows, " of a fresh process"))
    return length


def _repeated(row: Sequence[int], length: int) -> list[int]:
    """A target of so many tokens: what was written, again and again."""
    return (list(row) * (length // max(1, len(row)) + 1))[:length]


def _own_search(reference: Reference, engine: Searching, first: int, ids: Ids, expected: Ids, beams: int) -> int:
    """Counts the ties of a search that ends by rules of its own, whose other hypotheses may be better or worse.

    Raises `CertificateError` where the scores that it chose by are not those of its hypotheses.
    """
    ties = 0
    scores = replace(
        reference, layout=replace(reference.layout, generation=_among_allowed(reference.layout.generation))
    )
    for i, (row, want, (said, by)) in enumerate(zip(ids, expected, engine.scored(ids, beams), strict=True)):
        have = reference.layout.numbers(said).tolist()
        found = scores.score(row, have)
        if not abs(found - by) <= TIE * abs(found):
            raise CertificateError(
                f"beam search differs from PyTorch: sentence {first + i + 1}: its hypothesis was chosen by the score "
                f"{by:.6g}, and scores {found:.6g} there, more than {TIE:g} apart"
            )
        if have != list(want):
            a, b = reference.score(row, want), reference.score(row, have)
            ties += abs(a - b) <= TIE * max(abs(a), abs(b))
    return ties


def _among_allowed(g: Generation) -> Generation:
    """Probabilities among the tokens that are not forbidden, and no end but the model's own."""
    return replace(g, renormalize_logits=True, forced_eos_token_id=())


def _place(one: str, first: int, rows: int, more: str = "") -> Where:
    return lambda at: f"{one} {first + at[0] + 1}, step {at[1] + 1} (batch of {rows}){more}"


def _batches(inputs: Inputs) -> Iterator[tuple[int, Inputs]]:
    for start in range(0, len(inputs), BATCH):
        yield start, inputs[start : start + BATCH]


def _add(
    agreement: Agreement,
    reference: Reference,
    writer: Translator | Transcriber,
    first: int,
    inputs: Inputs,
    targets: Ids,
    expected: Floats,
) -> None:
    """Compares the cached steps; `first` is the number of sentences before this batch."""
    fed = reference.fed(targets)
    there = np.arange(fed.shape[1]) < np.array([reference.before + len(row) for row in targets])[:, None]
    where = _place(reference.source.one, first, len(inputs))
    agreement.add(expected, writer.forced(inputs, fed), there, where)


def _greedy_ties(reference: Reference, first: int, expected: Ids, got: Ids, logits: Floats) -> int:
    """Counts the sentences that part at a tie of two logits, as the processors leave them."""
    ties = 0
    for i, (want, have) in enumerate(zip(expected, got, strict=True)):
        if list(want) == list(have):
            continue
        step = next(t for t in range(len(want) + 1) if list(want[: t + 1]) != list(have[: t + 1]))
        if step < min(len(want), len(have)):
            place = reference.before + step
            prefix = reference.fed([want])[:, : place + 1]
            scores = constrain(logits[i, place : place + 1].copy(), prefix, reference.generation)[0]
            a, b = scores[want[step]], scores[have[step]]
            if abs(a - b) <= 2 * LOGIT_TOLERANCE * np.abs(logits[i, place]).max():
                ties += 1
                continue
        raise CertificateError(
            f"greedy decoding differs from PyTorch: {reference.source.one} {first + i + 1}, step {step + 1}: "
            f"token {have[step : step + 1]} instead of {want[step : step + 1]}, and this is no tie"
        )
    return ties


def _beam_ties(reference: Reference, first: int, inputs: Inputs, expected: Ids, got: Ids) -> int:
    """Counts the sentences whose two hypotheses score alike."""
    ties = 0
    for i, (want, have) in enumerate(zip(expected, got, strict=True)):
        if list(want) == list(have):
            continue
        a, b = reference.score(inputs[i], want), reference.score(inputs[i], have)
        if not abs(a - b) <= TIE * max(abs(a), abs(b)):
            raise CertificateError(
                f"beam search differs from PyTorch: {reference.source.one} {first + i + 1}: the hypotheses score "
                f"{b:.6g} here and {a:.6g} there, more than {TIE:g} apart"
            )
        ties += 1
    return ties
