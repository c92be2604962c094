"""`tprune evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tprune.cli.console import say, show
from tprune.cli.given import Given, task_name
from tprune.cli.options.checks import not_empty
from tprune.cli.options.choices import LongLinesHow
from tprune.cli.options.data import Scoring, TestPairs, TestSets, given_data
from tprune.cli.options.single import AnyModel, AsJson, Dense, PrecisionOfRun, Runtime, Uncertified
from tprune.cli.sides import RunsIn, sides_of
from tprune.core.known_tasks import writes_sentences
from tprune.core.precision import Precision
from tprune.run.translation import TRAINED
from tprune.runtimes.artefact import layout_file
from tprune.support.errors import OptionError


def evaluate(
    model: AnyModel,
    sets: TestSets,
    pairs: TestPairs,
    scoring: Scoring,
    against: Annotated[
        str | None,
        typer.Option(
            callback=not_empty,
            help="Another model to compare with on the same data; a run stands for its pruned model (default: for a "
            "run, its dense model).",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of threads (default: the usable cores, or fewer where OMP_NUM_THREADS says so)."
        ),
    ] = None,
    runtime: Runtime = None,
    precision: PrecisionOfRun = None,
    dense: Dense = False,
    uncertified: Uncertified = False,
    as_json: AsJson = False,
) -> None:
    """Score a model by the metric of its task, with a 95 % interval; a run's pruned model against its dense one."""
    from tprune.cli.doubts import check_certificates
    from tprune.cli.early import check_used

    numbers = precision and precision.value
    where, other = sides_of(model, against, dense, numbers)
    check_certificates([Path(each) for each in (where, other) if each], uncertified)
    if (runtime or numbers) and layout_file(Path(where)) is None:  # it is exported for this
        check_used(where, runtime or "onnxruntime", Precision(numbers or "fp32"))
    given = given_data(sets, pairs)
    task = task_name(given, where, scores=True)
    if writes_sentences(task) and task != TRAINED:
        _texts(task, where, other, given, scoring, threads, (runtime, numbers), as_json)
        return
    if writes_sentences(task):
        _translations(where, other, given, scoring, threads, (runtime, numbers), as_json)
        return
    given.check_task(task, "test")
    if scoring.given:
        raise OptionError(f"{scoring.given[0]} is for translation, and the model is for {task}; leave it out")
    from tprune.cli.score import scored
    from tprune.report.score_table import scores_table

    show(scored(task, where, other, given, threads, say, (runtime, numbers)), as_json, scores_table)


def _texts(
    task: str,
    model: str,
    against: str | None,
    given: Given,
    scoring: Scoring,
    threads: int | None,
    runs_in: RunsIn,
    as_json: bool,
) -> None:
    """What models write that are no translations, by their own task's metrics."""
    from tprune.cli.evaluate import scored_texts
    from tprune.cli.sentences import test_of
    from tprune.core.known_tasks import TASKS
    from tprune.report.score_table import scores_table
    from tprune.tasks.translation.long_lines import OPTION, LongLines

    if scoring.bleu_tokenize is not None:
        raise OptionError(f"--bleu-tokenize is for translation, and the model is for {task}; leave it out")
    if "train" in given.files:
        raise OptionError(f"--train: the baselines of {task} know the test data alone; leave it out")
    files = given.files.get("test")
    pairs: Any = TASKS.named(task).read(files, given.names) if files else test_of(given)
    how = scoring.long_lines
    long = None if how is None else LongLines(how.value, scoring.long_share, OPTION)
    found = scored_texts(task, model, pairs, against, scoring.beams, threads, say, runs_in, long)
    show(found, as_json, scores_table)


def _translations(
    model: str,
    against: str | None,
    given: Given,
    scoring: Scoring,
    threads: int | None,
    runs_in: RunsIn,
    as_json: bool,
) -> None:
    from tprune.cli.sentences import test_of

    if "train" in given.files:
        raise OptionError("--train is for baselines, which translation has none of; leave it out")
    pairs = test_of(given)
    from tprune.cli.evaluate import evaluate as evaluated
    from tprune.report.verb_tables import quality_table
    from tprune.tasks.translation.long_lines import OPTION, LongLines

    long = LongLines((scoring.long_lines or LongLinesHow.SKIP).value, scoring.long_share, OPTION)
    tokenize = scoring.bleu_tokenize
    runtime, precision = runs_in
    found = evaluated(
        model,
        pairs,
        against,
        scoring.beams,
        threads,
        say,
        runtime,
        tokenize=tokenize,
        long_lines=long,
        precision=precision,
    )
    show(found, as_json, quality_table)
