"""Results as a table for a terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tprune.report.results import SENTENCE, RunResults

MEASURES = {"encoder": "encoder pass, ms", "decoder_step": "decoder step, ms", "sentence": "sentence, ms"}
PHASES = {**MEASURES, "pass": "pass, ms", "prefill": "prefill, ms", "step": "step, ms"}  # of other models too


def rows(results: RunResults) -> list[tuple[str, str, str, str]]:
    """Measure, dense, pruned and the ratio or difference, as text."""
    dense, pruned, gap = results.dense, results.pruned, results.bleu_difference
    bleu = f"{gap.delta:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]"
    found = [
        ("BLEU", f"{dense.bleu:.2f}", f"{pruned.bleu:.2f}", bleu),
        ("chrF", f"{dense.chrf:.2f}", f"{pruned.chrf:.2f}", f"{pruned.chrf - dense.chrf:+.2f}"),
        _smaller("parameters", dense.parameters, pruned.parameters),
        _smaller("multiplications, 25 + 25 tokens", dense.macs, pruned.macs),
        _smaller("file size, bytes", dense.bytes, pruned.bytes),
    ]
    for runtime in results.speedup:
        for measure, label in MEASURES.items():
            ms = dense.latency_ms[runtime][measure], pruned.latency_ms[runtime][measure]
            ratio = results.ratio(runtime, measure)
            speed = f"{faster(ratio.median)}, {between(ratio.interval)}"
            found.append((f"{runtime}: {label}", f"{ms[0]:.3g}", f"{ms[1]:.3g}", speed))
    tokens = dense.tokens_per_sentence, pruned.tokens_per_sentence
    longer = f"{tokens[1] - tokens[0]:+.1f}"
    found.append(("tokens written per sentence", f"{tokens[0]:.1f}", f"{tokens[1]:.1f}", longer))
    if dense.at_limit is not None and pruned.at_limit is not None:
        cut = 100 * dense.at_limit, 100 * pruned.at_limit
        more = f"{cut[1] - cut[0]:+.1f} %"
        found.append(("translations that end at the limit", f"{cut[0]:.1f} %", f"{cut[1]:.1f} %", more))
    memory = dense.peak_memory, pruned.peak_memory
    less = f"{memory[0] / memory[1]:.2f}x less"
    found.append(("peak memory, MB", f"{memory[0] / 1e6:.0f}", f"{memory[1] / 1e6:.0f}", less))
    return found


def _smaller(label: str, dense: int, pruned: int) -> tuple[str, str, str, str]:
    return label, f"{dense:,}", f"{pruned:,}", f"{dense / pruned:.2f}x less"


def notes(results: RunResults) -> list[str]:
    """How the numbers were made, and what to make of them."""
    certificate, bench = results.certificate, results.bench
    found = [
        f"{_target(results)}; beam {results.beams}; {results.signatures.bleu_signature}",
        f"timed greedily, {bench.threads} thread(s), batch {bench.batch}, {bench.rounds} rounds in turns; "
        "95 % intervals in []",
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
    if abs(results.pruned.tokens_per_sentence / max(1e-9, results.dense.tokens_per_sentence) - 1) > 0.05:
        speed = ", ".join(f"{runtime}: {faster(results.per_token(runtime))}" for runtime in results.speedup)
        found.append(f"the two write sentences of different length, so compare time per written token: {speed}")
    if results.noise.noisy:
        found.append(results.noise.says)
    return found


def _target(results: RunResults) -> str:
    """Asked, predicted or reached, and measured."""
    target = results.target
    unit, asked = next(iter(target.asked.items()))
    reached = target.reached[unit]
    if unit != "sentence_ms":
        return f"asked for {asked:,.0f} {unit}, reached {reached:,.0f}"
    if speedup := target.speedup:  # milliseconds differ with the load of the machine, ratios less
        took = ", ".join(f"{results.ratio(runtime).median:.2f}x" for runtime in results.speedup)
        return f"asked for {speedup:g}x, predicted {speedup * asked / reached:.2f}x, measured {took}"
    took = ", ".join(f"{ms[SENTENCE]:.3g}" for ms in results.pruned.latency_ms.values())
    return f"asked for {asked:.3g} ms a sentence, predicted {reached:.3g}, measured {took}"


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
    return "\n".join([text_of(table), *notes(results)])


def text_of(*tables: Table, width: int = 140) -> str:
    """Tables as plain text, an empty line between them, without spaces at line ends."""
    written = io.StringIO()
    console = Console(file=written, width=width, highlight=False, markup=False, no_color=True)
    for number, table in enumerate(tables):
        if number:
            console.print()
        console.print(table)
    return "\n".join(line.rstrip() for line in written.getvalue().rstrip().splitlines())
