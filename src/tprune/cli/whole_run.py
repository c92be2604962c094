"""A whole run as the command line starts it: what is wrong is refused at once, then its stages are done and told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tprune.cli.console import show, typed
from tprune.cli.given import Given
from tprune.cli.options.run import Begin, Budget, Cutting, Training
from tprune.core.known_tasks import writes_sentences
from tprune.data.splits import Splits
from tprune.recipe.schema import Recipe
from tprune.run.translation import TRAINED
from tprune.support.errors import InputError, OptionError, printable
from tprune.support.regular_file import regular_bytes


@dataclass(frozen=True)
class Whole:
    """A whole run.

    Attributes:
        out: its directory.
        recipe: with what the options said.
        data: its training, validation and test sets.
        model: the model to start from; None where the recipe trains one.
        trim: as `--trim-vocab` says it.
        plan: the file of a plan that says what is kept.
        dry: stop before anything is trained.
        until: the last stage.
        speeds: that a dry run compares.
        device: to train on.
        shard: whether the processes of a launcher divide the weights among them.
        tracker: where curves go; None for nowhere.
        force: delete what `out` holds of an earlier run.
        tunable: whether multiples that were tuned take the place of the recipe's, which nobody asked for.
    """

    out: Path
    recipe: Recipe
    data: Splits[Any]
    model: str | None
    trim: str | None = None
    plan: Path | None = None
    dry: bool = False
    until: str | None = None
    speeds: tuple[float, ...] = ()
    device: str = "auto"
    shard: bool = False
    tracker: str | None = None
    force: bool = False
    tunable: bool = False

    @staticmethod
    def of(
        begin: Begin,
        recipe: Recipe,
        given: Given,
        model: str | None,
        budget: Budget,
        cutting: Cutting,
        training: Training,
        needed: tuple[str, ...],
    ) -> Whole:
        """From the groups of options; `needed` are the sets that must be given. Raises `InputError` as `splits_of`."""
        from tprune.cli.data_sets import splits_of

        task = recipe.task or TRAINED
        searched = writes_sentences(task)
        if not searched and needed == ("train", "valid", "test"):
            needed = ("train", "valid")
        if not searched and (wrong := cutting.trim_vocab or cutting.output_vocab):
            option = "--trim-vocab" if cutting.trim_vocab else "--output-vocab"
            raise OptionError(f"{option} {wrong} is for translation, and the model is for {task}; leave it out")
        if budget.plan is not None:
            check_plan(budget.plan)
        data = splits_of(task, given, recipe.data, needed, recipe.seed)
        where = (begin.out, recipe, data, model, cutting.trim_vocab, budget.plan)
        speeds = budget.compared(begin.dry_run)
        return Whole(*where, begin.dry_run, begin.until, speeds, *training.placed, begin.force)


def check_plan(file: Path) -> None:
    """Raises `InputError` for a file that is no plan, before a model is loaded; whether it fits is known only then."""
    try:
        found = json.loads(regular_bytes(file, "a plan"))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"--plan {file}: no JSON ({error}); expected the plan.json of a pruned model") from None
    if not isinstance(found, dict) or not isinstance(found.get("entries"), list):
        raise InputError(f"--plan {file}: no plan; expected the plan.json of a pruned model")
    if not found["entries"]:
        raise InputError(f"--plan {file}: the plan has no entries; expected a plan after selection")


def start(whole: Whole, as_json: bool) -> None:
    """Checks what can be checked before anything heavy is imported, does the stages and shows what they found."""
    from tprune.bench.harness import check_batch
    from tprune.cli.early import check_tracker, check_used
    from tprune.run.out_folder import check_folder
    from tprune.run.stage import check_until
    from tprune.support.machine import check_threads

    recipe = whole.recipe
    check_folder(whole.out)
    check_threads(recipe.bench.threads)
    if whole.model is not None:
        check_used(whole.model, recipe.bench.runtime, recipe.bench.numbers)
    if writes_sentences(recipe.task or TRAINED):
        check_batch(recipe.bench.batch, len(whole.data.pooled_test()))
    if whole.until is not None:
        check_until(whole.until, recipe, whole.trim is not None, whole.plan is not None)
    if whole.tracker is not None:
        check_tracker(whole.tracker)
    vocabulary = _vocabulary(whole)
    _place(whole)
    results = _stages(whole, vocabulary)
    if whole.until is not None:
        show(
            results, as_json, lambda _: f"stopped after {whole.until}; to go on, give the same command without --until"
        )
    elif whole.speeds:
        show(results, as_json, lambda _: f"{whole.out / 'frontier.json'}\n{whole.out / 'frontier.svg'}")
    elif whole.dry:
        show(results, as_json, lambda _: f"{whole.out / 'forecast.json'}")
    else:
        _show_results(whole.out, results, as_json)


def _place(whole: Whole) -> None:
    """Chooses what trains. Raises `InputError` for a device that is not there, or that cannot be shared."""
    from tprune.support.devices import use_device
    from tprune.train.team import leading

    team = leading()
    if whole.shard and team is None:
        raise OptionError(
            "--shard divides the weights among several processes, and this is one alone; leave it out, or start some: "
            "torchrun --nproc_per_node 2 -m tprune ..."
        )
    if team is not None and whole.device == "mps":
        raise OptionError(f"--device mps: {team.seat.size} processes cannot share it; start one")
    use_device(whole.device, whole.shard)


def _vocabulary(whole: Whole) -> Any:
    if whole.trim is None:
        return None
    from tprune.cli.sentences import vocabulary_of
    from tprune.data.parallel import Corpus

    assert isinstance(whole.data, Corpus)  # no other task has this option
    return vocabulary_of(whole.trim, whole.data)


def _stages(whole: Whole, vocabulary: Any) -> dict[str, Any]:
    """Does the stages of the run."""
    from tprune.cli.hints import hinting
    from tprune.run.folder import Run
    from tprune.run.log import logged
    from tprune.run.stages import run
    from tprune.support.reporting import Progress

    data: Any = whole.data
    trims = whole.trim is not None
    progress = Progress(_planned(whole))
    with logged(whole.out, progress.show), progress.pulse, hinting(whole.recipe, trims, lambda: progress.name):
        return run(
            Run(
                whole.out,
                whole.recipe,
                data,
                whole.model,
                typed(),
                progress,
                whole.plan,
                vocabulary,
                whole.dry,
                whole.speeds,
                whole.until,
                whole.force,
                tunable=whole.tunable,
                tracked=whole.tracker is not None,
            )
        )


def _planned(whole: Whole) -> dict[str, float]:
    """Seconds by stage, of the stages that are done this time."""
    from tprune.run.estimates import planned
    from tprune.run.stage import stage_named

    found = dict(planned(whole.recipe, whole.trim is not None, whole.plan is not None))
    if whole.dry:
        return {name: seconds for name, seconds in found.items() if stage_named(name).dry}
    names = list(found)
    last = names.index(whole.until) + 1 if whole.until in found else len(names)
    return {name: found[name] for name in names[:last]}


def _show_results(out: Path, results: Mapping[str, Any], as_json: bool) -> None:
    from tprune.report.results import RunResults
    from tprune.report.table import results_table

    show(results, as_json, lambda found: results_table(RunResults.from_dict(dict(found))))
    if not as_json:
        print(printable(f"\n{out / 'results.json'}\n{out / 'report.html'}\n{out / 'pruned'}  (the pruned model)"))
