"""The stages of a run, in their order.

One table says of each when it is needed, what it leaves, and what it depends on.

What does the work of a stage stands elsewhere: `tprune.run.sequence` for what `tprune.compress` does too,
`tprune.run.stages` for the rest. Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tprune.core.precision import NUMBERS, Precision
from tprune.core.units import MEMORY, SIZES, TIMES
from tprune.run.stage_times import StageTimes
from tprune.run.variants import variants
from tprune.support.errors import InputError

if TYPE_CHECKING:
    from tprune.recipe.schema import Recipe

# parts of a run's description, by the keys of `run.json`; of `recipe.train_precision` says `training.precision` what
# came of it
DATA = ("corpus.train", "corpus.valid", "recipe.data.long_lines", "recipe.data.long_share")
ASKED = tuple(
    f"recipe.prune.{key}"
    for key in (
        "allocation",
        "objective",
        "search",
        "expected_recovery",
        "output_vocabulary",
        "kinds",
        "multiple",
        "floor",
        "floors",
        *SIZES,
        *TIMES,
        *MEMORY,
    )
)
NUMBERED = tuple(f"recipe.bench.{key}" for key in ("runtime", "precision", "exceptions", "max_int8_loss"))
TIMED = ("recipe.bench.threads", "recipe.bench.batch", *NUMBERED)


@dataclass(frozen=True)
class Asked:
    """What is known of a run before it begins.

    Attributes:
        recipe: as checked.
        trims: whether the vocabulary is cut to some sentences.
        given: whether a plan is given, so that nothing is measured for one.
        model: that is pruned; None where the run trains one.
        tests: number of test examples, in words.
    """

    recipe: Recipe
    trims: bool = False
    given: bool = False
    model: str | None = None
    tests: str = ""


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        name: as in `--until` and in the folder `stages` of a run directory.
        message: what it does, in a phrase for the progress.
        needed: whether a run has it.
        leaves: files and folders in the run directory, beside its model.
        model: folder of the model that it leaves.
        reads: what it depends on, by keys of `run.json`; a key stands for all below it. Once the stage has begun these
            stay.
        seconds: how long it takes, roughly.
        dry: whether a dry run does it: what is asked for is known after these.
        cheap: whether nobody would miss it: it is no reason to keep a run that is refused.
        copies: whether it only makes a copy where a model is given, which is cheap and reads no data.
    """

    name: str
    message: Callable[[Asked], str] = lambda asked: ""
    needed: Callable[[Asked], bool] = lambda asked: True
    leaves: tuple[str, ...] = ()
    model: str | None = None
    reads: tuple[str, ...] = ()
    seconds: Callable[[Recipe, StageTimes], float] = lambda recipe, load: 0.0
    dry: bool = False
    cheap: bool = False
    copies: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """All that it leaves in the run directory, its model first."""
        return ((self.model,) if self.model else ()) + self.leaves

    def depends_on(self, key: str, copied: bool) -> bool:
        """Whether it depends on a part of the run's description; `copied`: a model is given."""
        if copied and self.copies and key in DATA:
            return False
        return any(key == part or key.startswith(f"{part}.") for part in self.reads)


STAGES: tuple[Stage, ...] = (
    Stage(
        "train",
        message=lambda asked: f"{asked.recipe.train.steps} steps" if asked.model is None else f"from {asked.model}",
        model="dense",
        reads=(
            *("model", "recipe.task", "recipe.seed", "recipe.data", "recipe.model", "recipe.train", "training"),
            *DATA,
        ),
        seconds=lambda recipe, load: load.training(recipe.train),
        dry=True,
        copies=True,
    ),
    Stage(
        "trim",
        message=lambda asked: "only the tokens that the given sentences need",
        needed=lambda asked: asked.trims,
        model="trimmed",
        reads=("corpus.train", "corpus.valid", "corpus.vocabulary"),
        seconds=lambda recipe, load: 5.0,
        dry=True,
        cheap=True,
    ),
    Stage(
        "resegment",
        message=lambda asked: f"with at most {asked.recipe.prune.output_vocabulary:,} tokens",
        needed=lambda asked: asked.recipe.prune.output_vocabulary is not None,
        reads=("recipe.prune.output_vocabulary", *DATA),
        seconds=lambda recipe, load: 10.0,
        dry=True,
        cheap=True,
    ),
    Stage(
        "profile",
        message=lambda asked: (
            "what each sublayer costs, in loss" + (" and on this machine" if asked.recipe.prune.timed else "")
        ),
        needed=lambda asked: asked.recipe.prune.by_loss and not asked.given,
        leaves=("latency.json", "latency-fp32.json"),
        reads=("corpus.vocabulary", "training", *ASKED, *TIMED, *DATA),
        seconds=lambda recipe, load: load.evidence(recipe.prune, recipe.bench.auto),
        dry=True,
    ),
    Stage(
        "analyze",
        message=lambda asked: f"{asked.recipe.analyze.steps} steps of group lasso on all lines",
        needed=lambda asked: asked.recipe.analyze.steps > 0,
        leaves=("analysis.json",),
        reads=("corpus.vocabulary", "recipe.analyze", "recipe.prune.kinds", "training", *DATA),
        seconds=lambda recipe, load: load.steps(recipe.analyze.steps, recipe.analyze.batch_tokens, factor=1.3),
        dry=True,
    ),
    Stage(
        "distill-data",
        message=lambda asked: "translations of the training sentences",
        needed=lambda asked: asked.recipe.prune.translates or asked.recipe.recover.translates,
        leaves=("taught",),
        reads=("training", *DATA),
        seconds=lambda recipe, load: load.translating(),
    ),
    Stage(
        "prune",
        message=lambda asked: (
            f"{asked.recipe.prune.steps} steps of {asked.recipe.prune.method}"
            if asked.recipe.prune.steps
            else "one shot, what is left fitted again"
        ),
        model="regularised",
        reads=("plan", "corpus.vocabulary", "recipe.prune", "training", *DATA),
        seconds=lambda recipe, load: load.taught(recipe.prune, 1.1) + load.fitting,
    ),
    Stage(
        "shrink",
        message=lambda asked: "cut, and compare with the masked model",
        model="cut",
        reads=("recipe.prune.output_vocabulary",),
        seconds=lambda recipe, load: 5.0,
    ),
    Stage(
        "recover",
        message=lambda asked: f"{asked.recipe.recover.steps} steps",
        model="pruned",
        reads=("recipe.recover", "training"),
        seconds=lambda recipe, load: load.taught(recipe.recover),
    ),
    Stage(
        "export",
        message=lambda asked: f"to {asked.recipe.bench.runtime}, checked against PyTorch",
        leaves=tuple(f"onnx/{one.name}" for one in variants(map(Precision, NUMBERS))),
        reads=(*NUMBERED, "training"),
        seconds=lambda recipe, load: 4 * load.export,
    ),
    Stage(
        "evaluate",
        message=lambda asked: f"{asked.tests} in {asked.recipe.bench.runtime}",
        leaves=("predictions.json", "translations.json"),
        reads=("corpus.test", "recipe.num_beams", "recipe.bleu_tokenize"),
        seconds=lambda recipe, load: 30.0,
    ),
    Stage(
        "bench",
        message=lambda asked: "dense and pruned in turns, in all precisions",
        reads=("recipe.bench",),
        seconds=lambda recipe, load: 20.0 + 2 * load.timing(recipe.bench.rounds),
    ),
)


def names() -> tuple[str, ...]:
    """Of all stages, in their order."""
    return tuple(stage.name for stage in STAGES)


def stage_named(name: str) -> Stage:
    """A stage by its name. Raises `InputError` listing them."""
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise InputError(f"no stage {name!r}; expected one of {', '.join(names())}")


def planned(recipe: Recipe, trims: bool = False, given: bool = False) -> tuple[str, ...]:
    """The stages that a recipe needs.

    Args:
        recipe: as checked.
        trims: whether the vocabulary is cut to some sentences.
        given: whether a plan is given, so that nothing is measured for one.

    Example:
        >>> from tprune.recipe.schema import Data, Prune, Recipe, Recover, Train
        >>> few = Recipe(data=Data(), train=Train(steps=0), prune=Prune(steps=0, macs=0.5), recover=Recover(steps=0))
        >>> planned(few, trims=True)
        ('train', 'trim', 'analyze', 'prune', 'shrink', 'recover', 'export', 'evaluate', 'bench')
    """
    asked = Asked(recipe, trims, given)
    return tuple(stage.name for stage in STAGES if stage.needed(asked))


def check_until(stage: str, recipe: Recipe, trims: bool = False, given: bool = False) -> None:
    """Whether a run of this recipe can stop after a stage. Raises `InputError` listing those it has."""
    if stage not in (stages := planned(recipe, trims, given)):
        raise InputError(f"--until {stage}: this run has no such stage; its stages are {', '.join(stages)}")


def models() -> tuple[str, ...]:
    """Folders of the models that a run leaves, in the order in which it makes them."""
    return tuple(stage.model for stage in STAGES if stage.model is not None)


def outputs() -> tuple[str, ...]:
    """All files and folders that stages leave in a run directory."""
    return tuple(name for stage in STAGES for name in stage.outputs)


def cheap(copied: bool) -> tuple[str, ...]:
    """Names of the stages that nobody would miss; `copied`: a model is given."""
    return tuple(stage.name for stage in STAGES if stage.cheap or (copied and stage.copies))


def dependents(key: str, copied: bool) -> tuple[str, ...]:
    """Names of the stages that depend on a part of a run's description.

    Example:
        >>> dependents("recipe.prune.floor", copied=False)
        ('profile', 'prune')
    """
    return tuple(stage.name for stage in STAGES if stage.depends_on(key, copied))
