"""Results as a table for a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from tprune.bench.known_phases import label_of as phase_label
from tprune.bench.known_phases import quoted_words
from tprune.core.score import Difference, Score
from tprune.report.precision_table import precision_table, remarks
from tprune.report.results import RunResults


def rows(results: RunResults) -> list[tuple[str, str, str, str]]:
    """Measure, dense, pruned and the ratio or difference, as text."""
    dense, pruned, words = results.dense, results.pruned, results.words
    memory = dense.peak_memory, pruned.peak_memory
    return [
        *_scores(results),
        _smaller("parameters", dense.parameters, pruned.parameters),
        _smaller(f"multiplications, {words.size}", dense.macs, pruned.macs),
        _smaller("file size, bytes", dense.bytes, pruned.bytes),
        *_times(results),
        *_written(results),
        ("peak memory, MB", f"{memory[0] / 1e6:.0f}", f"{memory[1] / 1e6:.0f}", f"{memory[0] / memory[1]:.2f}x less"),
    ]


def _scores(results: RunResults) -> Iterator[tuple[str, str, str, str]]:
    """Each metric, of the run's own with the interval of the difference; and what the baselines get."""
    for name, score in results.dense.scores.items():
        other = results.pruned.scores[name]
        change = gap(results.difference) if name == results.metric else signed(score, other.value - score.value)
        yield label_of(score), shown(score), shown(other), change
    for name, score in results.baselines.items():
        yield f"{label_of(score)} of the {name}", shown(score), "", ""


def label_of(score: Score) -> str:
    """A metric with its unit and, where less is better, that."""
    metric = score.metric
    better = "" if metric.larger_is_better else " (lower is better)"
    return f"{metric.name}{metric.unit and ', ' + metric.unit}{better}"


def shown(score: Score) -> str:
    """A value without its unit."""
    return f"{score.value:.{score.metric.digits}f}"


def signed(score: Score, delta: float) -> str:
    """A difference in a score's metric."""
    return f"{delta:+.{score.metric.digits}f}"


def gap(found: Difference) -> str:
    """A difference with its interval.

    Example:
        >>> from tprune.core.score import Metric
        >>> gap(Difference(Metric("BLEU"), -0.5, -1.0, 0.1, 0.2, 1000, 0))
        '-0.50 [-1.00, +0.10]'
    """
    delta, low, high = (f"{value:+.{found.metric.digits}f}" for value in (found.delta, found.low, found.high))
    return f"{delta} [{low}, {high}]"


def _times(results: RunResults) -> Iterator[tuple[str, str, str, str]]:
    for runtime, speedup in results.speedup.items():
        for phase in speedup:
            ms = results.dense.latency_ms[runtime][phase], results.pruned.latency_ms[runtime][phase]
            ratio = results.ratio(runtime, phase)
            speed = f"{faster(ratio.median)}, {between(ratio.interval)}"
            label = phase_label(phase, results.bench.work.new_tokens)
            yield f"{runtime}: {label}", f"{ms[0]:.3g}", f"{ms[1]:.3g}", speed


def _written(results: RunResults) -> Iterator[tuple[str, str, str, str]]:
    """How much is written, where anything is."""
    dense, pruned = results.dense, results.pruned
    tokens = dense.tokens_per_sentence, pruned.tokens_per_sentence
    if any(tokens):
        longer = f"{tokens[1] - tokens[0]:+.1f}"
        yield "tokens written per sentence", f"{tokens[0]:.1f}", f"{tokens[1]:.1f}", longer
    if dense.at_limit is not None and pruned.at_limit is not None:
        cut = 100 * dense.at_limit, 100 * pruned.at_limit
        label = f"{results.words.predicted} that end at the limit"
        yield label, f"{cut[0]:.1f} %", f"{cut[1]:.1f} %", f"{cut[1] - cut[0]:+.1f} %"


def _smaller(label: str, dense: int, pruned: int) -> tuple[str, str, str, str]:
    return label, f"{dense:,}", f"{pruned:,}", f"{dense / pruned:.2f}x less"


def notes(results: RunResults) -> list[str]:
    """How the numbers were made, and what to make of them."""
    certificate, bench = results.certificate, results.bench
    found = [
        f"{_target(results)}; {_how_scored(results)}",
        f"timed{' greedily' if results.beams else ''}, {bench.threads} thread(s), batch {bench.batch}, {bench.rounds} "
        "rounds in turns; 95 % intervals in []",
        f"certificate: masked and shrunk logits differ by {max(certificate.forward, certificate.generation):.1e}"
        f" (allowed {certificate.limit:g})",
    ]
    if spelling := results.spelling:
        found.append(
            f"the pruned model writes {spelling.written:,} of {spelling.before:,} tokens and spells words with others; "
            f"the training translations are {spelling.longer:.2f} times as long with them"
        )
    if taught := results.taught:
        found.append(
            f"{100 * taught.at_limit:.1f} % of the teacher's translations that it learnt from end at the limit"
        )
    found += [f"warning: {line}" for line in results.warnings]
    if abs(results.longer - 1) > 0.05:
        speed = ", ".join(f"{runtime}: {faster(results.per_token(runtime))}" for runtime in results.speedup)
        found.append(f"the two write sentences of different length, so compare time per written token: {speed}")
    if results.noise.noisy:
        found.append(results.noise.says)
    return found


def _how_scored(results: RunResults) -> str:
    """The signature of the run's metric, after the beam where outputs were searched for."""
    signature = results.dense.scores[results.metric].signature
    return signature if results.beams is None else f"beam {results.beams}; {signature}"


def _target(results: RunResults) -> str:
    """Asked, predicted or reached, and measured."""
    target = results.target
    unit, asked = next(iter(target.asked.items()))
    reached = target.reached[unit]
    if target.timed is None:
        return f"asked for {asked:,.0f} {unit}, reached {reached:,.0f}"
    if speedup := target.speedup:  # milliseconds differ with the load of the machine, ratios less
        took = ", ".join(f"{results.ratio(runtime).median:.2f}x" for runtime in results.speedup)
        return f"asked for {speedup:g}x, predicted {speedup * asked / reached:.2f}x, measured {took}"
    times = [ms[target.timed] for ms in results.pruned.latency_ms.values() if target.timed in ms]
    took = ", ".join(f"{ms:.3g}" for ms in times)
    return f"asked for {asked:.3g} ms a {target.timed}, predicted {reached:.3g}" + (
        f", measured {took}" if took else ""
    )


def quoted(results: RunResults) -> str:
    """What the speed of a run is of."""
    return quoted_words(results.phase)


def faster(ratio: float) -> str:
    """A ratio of times in words."""
    return f"{ratio:.2f}x faster" if ratio >= 1 else f"slower ({ratio:.2f}x)"


def between(interval: Sequence[float]) -> str:
    """A 95 % interval of a ratio of times, dense over pruned.

    Example:
        >>> between([0.54, 0.63])
        '[0.54x, 0.63x]'
    """
    low, high = interval
    return f"[{low:.2f}x, {high:.2f}x]"


def results_table(results: RunResults) -> str:
    """The table of one run, as text."""
    table = Table("", "dense", "pruned", "", box=None, pad_edge=False)
    for column in table.columns[1:3]:
        column.justify = "right"
    for row in rows(results):
        table.add_row(*row)
    tables = [table, precision_table(results)] if results.rows else [table]
    return "\n".join([text_of(*tables), *remarks(results), *notes(results)])


def text_of(*tables: Table, width: int = 140) -> str:
    """Tables as plain text, an empty line between them, without spaces at line ends."""
    written = io.StringIO()
    console = Console(file=written, width=width, highlight=False, markup=False, no_color=True)
    for number, table in enumerate(tables):
        if number:
            console.print()
        console.print(table)
    return "\n".join(line.rstrip() for line in written.getvalue().rstrip().splitlines())
