"""What the verbs that look and measure print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from tprune.bench.harness import BenchResult
from tprune.bench.known_phases import label_of
from tprune.bench.statistics import FEWEST
from tprune.report.runtime_features import features_text, overview_text
from tprune.report.table import text_of
from tprune.runtimes.parity import LIMITS


def inspect_table(found: Mapping[str, Any]) -> str:
    """Couplings with their kind, groups and patterns, the model's size, and what was checked."""
    table = Table("coupling", "kind", "groups", "weights", "patterns", box=None, pad_edge=False)
    for row in found["couplings"]:
        shape = "x".join(map(str, row["groups"])) or "1"
        table.add_row(row["name"], row["kind"], shape, f"{row['weights']:,}", ", ".join(row["patterns"]))
    size = found["size"]
    lines = [
        text_of(table),
        f"{size['parameters']:,} parameters, {size['macs']:,} multiplications for an example of "
        f"{found['task']} ({_shapes(found)})",
        *(["not shown: the lines of single matrices (--kind lines)"] if found["lines_left_out"] else []),
    ]
    return "\n".join([*lines, *(f"checked: {line}" for line in found.get("checked", ()))])


def _shapes(found: Mapping[str, Any]) -> str:
    """The inputs and outputs of the example whose operations are counted."""
    return ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in found["example"].items())


def cut_table(found: Mapping[str, Any]) -> str:
    """What a checkpoint was asked to become, and became."""
    asked = "; ".join(
        f"asked for {was:,.0f} {unit}, reached {found['reached'][unit]:,.0f}" for unit, was in found["asked"].items()
    )
    kept = ", ".join(f"{share:.0%} of {kind}" for kind, share in found["kept"].items())
    lines = [
        *([asked] if asked else []),
        f"stays: {kept}",
        f"{found['bytes_before']:,} bytes of weights became {found['bytes']:,} in {found['files']} files",
        "not computed, so not certified: tprune evaluate says what it lost, training recovers it",
    ]
    return "\n".join([*lines, f"\n{found['out']}"])


def quality_table(found: Mapping[str, Any]) -> str:
    """Scores of one or two models, their difference, and the metrics' signatures."""
    table = Table("", "BLEU", "95 % interval", "chrF", "end at the limit", box=None, pad_edge=False)
    for name, score in found["scores"].items():
        interval = f"{score['bleu_low']:.2f} to {score['bleu_high']:.2f}"
        cut = f"{100 * score['at_limit']:.1f} % (of {score['limit']} tokens)"
        table.add_row(name, f"{score['bleu']:.2f}", interval, f"{score['chrf']:.2f}", cut)
    first = next(iter(found["scores"].values()))
    lines = [text_of(table)]
    if gap := found["paired"]:
        lines.append(
            f"{found['model']} against {found['against']}: {gap['delta']:+.2f} BLEU [{gap['low']:+.2f}, "
            f"{gap['high']:+.2f}], p {gap['p_value']:.3f}"
        )
    used = dict.fromkeys(f"beam {score['beams']}" for score in found["scores"].values())
    how = " and ".join(used) + (" as exported (--beam for another)" if found["beams"] is None else "")
    signatures = f"{first['bleu_signature']}; {first['chrf_signature']}"
    return "\n".join(
        [*lines, f"{first['sentences']:,} sentences, {how}; intervals by bootstrap over sentences; {signatures}"]
    )


def export_table(found: Mapping[str, Any]) -> str:
    """What was written, and how well it agrees with PyTorch."""
    table = Table("file", "bytes", box=None, pad_edge=False)
    for name, size in found["files"].items():
        table.add_row(name, f"{size:,}")
    agrees = (
        _searches(found)
        if found["sentences"]
        else [f"{found['inputs']} inputs", f"{found['steps']} steps with a cache"]
    )
    compared = f"{_distance(found)}; {'; '.join(agrees)}"
    return "\n".join(
        [
            text_of(table),
            compared if found.get("ran", True) else "exported, not run here: nothing was compared with PyTorch",
            *_explained(found),
            f"\n{found['out']}",
        ]
    )


def _explained(found: Mapping[str, Any]) -> list[str]:
    """What the counts of sentences mean where the precision is not exact, and what decides instead."""
    if found.get("precision", "fp32") == "fp32" or not found["sentences"] or not found.get("ran", True):
        return []
    return [
        "equal: sentences whose tokens are all those that PyTorch writes in fp32. "
        f"{found['precision']} rounds, so a close choice may",
        "fall otherwise, and the tokens after it with it: these counts are no test. The limits above decide, and the "
        "metric on",
        f"your data: tprune evaluate {found['out']} --against {found.get('model', 'MODEL')}",
    ]


def _distance(found: Mapping[str, Any]) -> str:
    """How far logits are from PyTorch's, and how far they may be; only what passed is written."""
    if found.get("precision", "fp32") == "fp32":
        return f"logits differ by {found['max_relative_error']:.1e} of the largest"
    limits = LIMITS[found["precision"]]
    return (
        f"{found['precision']} is within its limits: rms {found['rms']:.2g} (at most {limits.rms:g}), divergence "
        f"{found['kl']:.2g} nats (at most {limits.kl:g}), the same answer or a tie in {100 * found['top1']:.1f} % (at "
        f"least {100 * (limits.top1 or 0):g} %)"
    )


def bundle_table(found: Mapping[str, Any]) -> str:
    """The files of a bundle, its golden cases, and what it needs."""
    table = Table("file", "bytes", box=None, pad_edge=False)
    for name, size in found["files"].items():
        table.add_row(name, f"{size:,}")
    licenses = ", ".join(f"{what} {name}" for what, name in found["licenses"].items())
    return "\n".join(
        [
            text_of(table),
            f"{found['precision']}, {found['runtime']} {found['minimum']} or newer; licenses: {licenses}",
            f"golden outputs, replayed here: {'; '.join(found['cases'])}",
            f"on the device: python -m tprune_runtime check {found['out']}",
            f"\n{found['out']}",
        ]
    )


def _searches(found: Mapping[str, Any]) -> list[str]:
    """How many sentences both searches translate as PyTorch does."""
    return [
        f"{kind} {found[f'{kind}_equal']} of {found['sentences']} equal"
        + (f", {ties} at a tie" if (ties := found[f"{kind}_ties"]) else "")
        for kind in ("greedy", "beam")
    ]


TIMES = {(True, True): "measured, can be a target", (True, False): "by bench --runtime", (False, False): "not measured"}


def runtimes_table(found: Mapping[str, Any]) -> str:
    """Runtimes, what is installed, how to get the rest, and in short what they run."""
    table = Table("runtime", "installed", "milliseconds", "to install", box=None, pad_edge=False)
    for row in found["runtimes"]:
        missing = "" if row["version"] else row["install"]
        table.add_row(row["name"], row["version"] or "no", TIMES[row["timed"], row["target"]], missing)
    return f"{text_of(table)}\n\n{overview_text(found['features'])}"


def runtime_features_table(found: Mapping[str, Any]) -> str:
    """The features of models, by runtime, precision and build."""
    return features_text(found["features"])


def bench_table(found: BenchResult, names: tuple[str, str] = ("dense", "pruned")) -> str:
    """The table of `tprune bench`, as text; `names` are those of the two models."""
    reaches = "95 % interval" if found.rounds >= FEWEST else "range"
    table = Table("", *names, "speedup", reaches, box=None, pad_edge=False)
    dense, pruned = found.footprint["dense"], found.footprint["pruned"]
    for measure, (low, high) in found.interval.items():
        one, other = (found.latency_ms[side][measure] for side in ("dense", "pruned"))
        label, speed = label_of(measure, found.work.new_tokens), f"{found.speedup[measure]:.2f}x"
        table.add_row(f"{found.runtime}: {label}", f"{one:.3f}", f"{other:.3f}", speed, f"{low:.2f} to {high:.2f}")
    if dense.tokens_per_sentence:
        table.add_row(
            f"tokens per {found.reported}", f"{dense.tokens_per_sentence:.1f}", f"{pruned.tokens_per_sentence:.1f}"
        )
    table.add_row("parameters", f"{dense.parameters:,}", f"{pruned.parameters:,}")
    example = ", 25 + 25 tokens" if found.reported == "sentence" else " of an input"
    table.add_row(f"multiplications{example}", f"{dense.macs:,}", f"{pruned.macs:,}")
    table.add_row("peak memory, MB", f"{dense.peak_memory / 1e6:.0f}", f"{pruned.peak_memory / 1e6:.0f}")
    table.add_row("file size, MB", f"{dense.bytes / 1e6:.2f}", f"{pruned.bytes / 1e6:.2f}")
    how = f"{found.threads} thread(s), batch {found.batch}, {found.rounds} rounds"
    return "\n".join([text_of(table), how, found.noise])
