"""Several finished runs side by side: a table, and a page with quality against speed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.table import Table

from tprune.core.score import Metric
from tprune.report.html import template, visible
from tprune.report.page import reading
from tprune.report.results import RunResults, finished
from tprune.report.scatter import Dot, joined, scatter
from tprune.report.table import text_of
from tprune.report.titles import about, title_of_all
from tprune.support.errors import InputError
from tprune.support.files import landing, read_json

MARK = "comparison.html"


@dataclass(frozen=True)
class Row:
    """What one run measured.

    `speedup` is that of the quoted phase, `gap` the run's metric against that of its own dense model, each
    `(low, middle, high)` with a 95 % interval; `best` says that no other run is both better and faster.
    """

    run: str
    asked: str
    speedup: tuple[float, float, float]
    metric: Metric
    dense_value: float
    value: float
    gap: tuple[float, float, float]
    parameters: int
    macs: int
    bytes: int
    best: bool
    about: str = ""  # its model and its sentences


@dataclass(frozen=True)
class Comparison:
    """Runs, and what forbids to compare them."""

    rows: tuple[Row, ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def compare(runs: Sequence[Path]) -> Comparison:
    """Reads the results of finished runs.

    Raises:
        InputError: one is no run or not finished, or is named twice.
    """
    places = [run.resolve() for run in runs]
    if twice := [run for number, run in enumerate(runs) if run.resolve() in places[:number]]:
        raise InputError(f"{twice[0]} is named twice; name each run once")
    results: dict[str, RunResults] = {}
    rows, made_for = [], []
    for name, run in zip(names(runs), runs, strict=True):
        results[name] = finished(run)
        with reading(run):
            made_for.append(read_json(run / "run.json"))
            rows.append(row_of(name, results[name], made_for[-1]))
            cells(rows[-1])
    check_metrics(rows)
    best = {row.run for row in rows if not any(_beats(other, row) for other in rows)}
    return Comparison(
        tuple(replace(row, best=row.run in best) for row in rows),
        tuple(differences(results, made_for)),
    )


def check_metrics(rows: Sequence[Row]) -> None:
    """Raises `InputError` for runs that are scored by different metrics."""
    if other := next((row for row in rows if row.metric.name != rows[0].metric.name), None):
        raise InputError(
            f"{rows[0].run} is scored by {rows[0].metric.name}, {other.run} by {other.metric.name}; compare runs "
            "of one task"
        )


def names(runs: Sequence[Path]) -> list[str]:
    """The runs' paths without what they share."""
    parts = [run.resolve() for run in runs]
    shared = Path(os.path.commonpath(parts))
    return [str(part.relative_to(shared)) for part in parts]


def row_of(name: str, results: RunResults, made_for: Mapping[str, Any]) -> Row:
    """One run's results as a row."""
    speed, gap, target, pruned = results.faster, results.difference, results.target, results.pruned
    return Row(
        run=name,
        asked="plan" if target.unit is None else f"{target.unit} {target.value:g}",
        speedup=(speed.low, speed.median, speed.high),
        metric=results.scored_by,
        dense_value=results.dense.scores[results.metric].value,
        value=pruned.scores[results.metric].value,
        gap=(gap.low, gap.delta, gap.high),
        parameters=pruned.parameters,
        macs=pruned.macs,
        bytes=pruned.bytes,
        best=False,
        about=about(made_for, results.model),
    )


def differences(results: Mapping[str, RunResults], made_for: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the runs do not share, though their numbers need it."""
    how = {
        f"test {next(iter(results.values())).words.many}": [made["corpus"]["test"] for made in made_for],
        "dense models": [round(found.dense.scores[found.metric].value, 4) for found in results.values()],
        "processors": [found.machine.cpu for found in results.values()],
        "threads or batches": [(found.bench.threads, found.bench.batch) for found in results.values()],
    }
    odd = [
        f"the runs have different {what}, so their numbers compare only against their own dense model"
        for what, values in how.items()
        if len(set(values)) > 1
    ]
    noisy = [name for name, found in results.items() if found.noise.noisy]
    return [*odd, *([f"timed on a machine that was not quiet: {', '.join(noisy)}"] if noisy else [])]


def comparison_table(found: Comparison) -> str:
    """The comparison as text."""
    table = Table(
        "run",
        "asked",
        "measured",
        found.rows[0].metric.name,
        "against its dense",
        "parameters",
        "multiplications",
        "",
        box=None,
        pad_edge=False,
    )
    for row in found.rows:
        table.add_row(*cells(row), "on the front" if row.best else "")
    return "\n".join([text_of(table), *(f"warning: {line}" for line in found.warnings)])


def cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    low, change, high = (f"{each:+.{row.metric.digits}f}" for each in row.gap)
    return (
        row.run,
        row.asked,
        f"{row.speedup[1]:.2f}x [{row.speedup[0]:.2f}, {row.speedup[2]:.2f}]",
        f"{row.value:.{row.metric.digits}f}",
        f"{change} [{low}, {high}]",
        f"{row.parameters / 1e6:.2f} M",
        f"{row.macs / 1e6:.1f} M",
    )


def write_comparison(found: Comparison, out: Path) -> Path:
    """Writes the page. Raises `InputError` where `out` is something else than an earlier page."""
    if out.exists() and (not out.is_file() or "<title>tprune: runs compared" not in out.read_text("utf-8", "replace")):
        raise InputError(f"--out {out}: exists and is no comparison of runs; choose another file")
    alike = len({row.about for row in found.rows}) == 1  # then the title says it
    page = template(MARK).render(
        title=title_of_all([row.about for row in found.rows]),
        warnings=found.warnings,
        plot=scatter(dots_of(found.rows), found.rows[0].metric.name),
        metric=found.rows[0].metric,
        rows=[shown(number, row, "" if alike else row.about) for number, row in enumerate(found.rows, start=1)],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    landing(out).write_text(page, encoding="utf-8", errors="backslashreplace")
    return out


def dots_of(rows: Sequence[Row]) -> list[Dot]:
    """The runs by their numbers in the table, and their dense models, each drawn once."""
    dots: list[Dot] = []
    dense: dict[float, list[str]] = {}
    for number, row in enumerate(rows, start=1):
        value = (row.value - row.gap[1] + row.gap[0], row.value, row.value - row.gap[1] + row.gap[2])
        dots.append(Dot(row.run, row.speedup, value, labels=(str(number),)))
        dense.setdefault(row.dense_value, []).append(str(number))
    for height, numbers in dense.items():
        labels, prefix = (("dense",), "") if len(dense) == 1 else (tuple(numbers), "dense of ")
        name = f"{prefix}{joined(labels)}"
        dots.append(Dot(name, (1.0, 1.0, 1.0), (height, height, height), hollow=True, labels=labels, prefix=prefix))
    return dots


def shown(number: int, row: Row, about: str) -> tuple[str, ...]:
    """A row of the page's table: the run with its number in the drawing and what it is about.

    Intervals on a line of their own.
    """
    first, *others = cells(row)
    name = Markup("{}. <bdi>{}</bdi>").format(number, visible(first))
    if about:
        name += Markup(" <small><bdi>{}</bdi></small>").format(visible(about))
    return (name, *map(_with_interval, others), "yes" if row.best else "")


def _with_interval(text: str) -> str:
    value, interval, rest = text.partition(" [")
    return Markup("{} <small>[{}</small>").format(value, rest) if interval else text


def _beats(one: Row, other: Row) -> bool:
    """Whether one run is at least as good and as fast as another, and in one of the two more so."""
    worse = one.metric.better(other.value, one.value)
    same = one.value == other.value and one.speedup[1] == other.speedup[1]
    return not same and not worse and one.speedup[1] >= other.speedup[1]
