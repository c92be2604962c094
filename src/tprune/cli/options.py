"""The options that several verbs share, each checked before anything heavy is imported."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tprune.core.kinds import TO_CUT, Kind
from tprune.core.units import LEAST_SIZE
from tprune.run.stage import names as stage_names


class Blocks(StrEnum):
    """What `analyze` takes as a block."""

    MATRIX = "matrix"
    HEADS = "heads"


if TYPE_CHECKING:
    Kinds = Kind
else:  # what `prune` may cut; typer knows lists of enumerations, but none of literals
    Kinds = StrEnum("Kinds", {kind.upper(): kind for kind in TO_CUT})


class Devices(StrEnum):
    """What trains."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class LongLinesHow(StrEnum):
    """What becomes of sentences that are too long for the model."""

    SKIP = "skip"
    CROP = "crop"
    FAIL = "fail"


class ExportPrecisions(StrEnum):
    """What an exported model computes in."""

    FP32 = "fp32"


class TrainPrecisions(StrEnum):
    """What training computes in."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


def size_asked(value: float | None) -> float | None:
    """A fraction or a number. Raises `typer.BadParameter`."""
    if value is None or 0 < value <= 1 or LEAST_SIZE <= value < math.inf:
        return value
    raise typer.BadParameter(
        f"got {value:g}; expected a fraction of the dense model in (0, 1], or a number of at least {LEAST_SIZE}"
    )


def above(least: float, what: str) -> Callable[[float | None], float | None]:
    """A check that a number is larger than `least`."""

    def check(value: float | None) -> float | None:
        if value is None or least < value < math.inf:
            return value
        raise typer.BadParameter(f"got {value:g}; expected {what} above {least:g}")

    return check


def trimming(value: str | None) -> str | None:
    """`train` or two files. Raises `typer.BadParameter`."""
    if value is None or value == "train" or value.count(",") == 1:
        return value
    raise typer.BadParameter(f"got {value!r}; expected `train`, or two files, SOURCE,TRANSLATIONS")


def stage_named(value: str | None) -> str | None:
    """A stage that some run has. Raises `typer.BadParameter` listing them."""
    if value is None or value in stage_names():
        return value
    raise typer.BadParameter(f"got {value!r}; expected one of {', '.join(stage_names())}")


def not_empty(value: str | None) -> str | None:
    """A name or path; an unset variable in a script gives an empty one. Raises `typer.BadParameter`."""
    if value is not None and not value.strip():
        raise typer.BadParameter("got nothing; expected a name or path")
    return value


def named(value: str | Path) -> Path:
    """A file or folder; an unset variable in a script would make it the working directory. Raises `typer.BadParameter`."""
    if not str(value).strip():
        raise typer.BadParameter("got nothing; expected a path")
    return Path(value)


def pairs(value: list[str] | None) -> list[str] | None:
    """What `--set` may be. Raises `typer.BadParameter`."""
    from tprune.recipe.changes import settings  # here, because it takes a moment
    from tprune.support.errors import InputError

    try:
        settings(value or ())
    except InputError as error:
        raise typer.BadParameter(str(error)) from None
    return value


def bleu_tokenizer(value: str | None) -> str | None:
    """A tokeniser of sacreBLEU's. Raises `typer.BadParameter`."""
    if value is None:
        return None
    from tprune.support.errors import InputError
    from tprune.tasks.metrics.bleu_tokenizer import check_name  # here, because sacrebleu takes a moment

    try:
        check_name(value)
    except InputError as error:
        raise typer.BadParameter(str(error)) from None
    return value


def two_columns(value: str | None) -> str | None:
    """Two names. Raises `typer.BadParameter`."""
    if value is None or (value.count(",") == 1 and all(name.strip() for name in value.split(","))):
        return value
    raise typer.BadParameter(f"got {value!r}; expected two columns, SOURCE,TARGET")


def even(value: int) -> int:
    """An even number. Raises `typer.BadParameter`."""
    if value % 2:
        raise typer.BadParameter(f"got {value}; expected an even number")
    return value


def together(one: str, first: Path | None, other: str, second: Path | None) -> None:
    """Both or neither. Raises `typer.BadParameter`."""
    if (first is None) != (second is None):
        raise typer.BadParameter(f"{one} and {other} belong together; got {first or second} alone")


def one_target(plan: Path | None, needed: bool, **asked: float | None) -> None:
    """At most one target; none beside a plan, which has its own; one where nothing else says it. Raises `typer.BadParameter`."""
    given = [f"--{name.replace('_', '-')} {value:g}" for name, value in asked.items() if value is not None]
    if plan is not None and given:
        raise typer.BadParameter(f"--plan says what is kept; leave out {' and '.join(given)}")
    if len(given) > 1:
        raise typer.BadParameter(f"give one target, got {' and '.join(given)}")
    if needed and plan is None and not given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in asked)
        raise typer.BadParameter(f"what should it become? give one of {names}, or a --plan")


Checkpoint = Annotated[
    str,
    typer.Argument(callback=not_empty, help="A hub id, a model's folder, or a run (its pruned model; --dense for the other)."),
]  # fmt: skip
Dense = Annotated[bool, typer.Option("--dense", help="Of a run, take its dense model instead of its pruned one.")]
Out = Annotated[
    Path,
    typer.Option("--out", parser=named, metavar="<path>", help="The run directory; a killed run in it is taken up."),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed", min=0, max=2**32 - 1, help="Seed of weights, batches and dropout (default: the recipe's, 0)."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print results as JSON.")]
Source = Annotated[
    Path | None,
    typer.Option("--src", parser=named, metavar="<path>", help="Source sentences to train on, one a line (.gz too)."),
]
Translations = Annotated[
    Path | None,
    typer.Option("--tgt", parser=named, metavar="<path>", help="Translations of these sentences, one a line."),
]
ValidSource = Annotated[
    Path | None, typer.Option("--valid-src", parser=named, metavar="<path>", help="Source sentences for validation.")
]
ValidTranslations = Annotated[
    Path | None,
    typer.Option("--valid-tgt", parser=named, metavar="<path>", help="Translations of these sentences, one a line."),
]
TestSource = Annotated[
    Path | None, typer.Option("--test-src", parser=named, metavar="<path>", help="Source sentences to score and time.")
]
TestTranslations = Annotated[
    Path | None,
    typer.Option("--test-tgt", parser=named, metavar="<path>", help="Translations of these sentences, one a line."),
]
RecipeData = Annotated[
    str | None,
    typer.Option("--data", callback=not_empty, help="The folder with the recipe's files, or a data set: see --data of prune. Without it the recipe's, from the hub."),
]  # fmt: skip
DataSet = Annotated[
    str | None,
    typer.Option("--data", callback=not_empty, help="A data set instead of files: a hub id, or a folder of CSV, JSON lines or Parquet files of train, validation and test."),
]  # fmt: skip
Columns = Annotated[
    str | None,
    typer.Option("--columns", callback=two_columns, metavar="SOURCE,TARGET", help="The data set's columns, with dots for what lies inside one: translation.en,translation.de."),
]  # fmt: skip
Macs = Annotated[
    float | None,
    typer.Option("--macs", callback=size_asked, help="Budget: this fraction of the dense model's multiplications, or a number."),
]  # fmt: skip
Params = Annotated[
    float | None,
    typer.Option("--params", "--parameters", callback=size_asked, help="Budget: this fraction of its parameters, or a number."),
]  # fmt: skip
Bytes = Annotated[
    float | None, typer.Option("--bytes", callback=size_asked, help="Budget: this fraction of its bytes, or a number.")
]
MemoryMb = Annotated[
    float | None,
    typer.Option("--memory-mb", callback=above(0, "megabytes"), help="Budget: peak memory of the process that runs it, in MB."),
]  # fmt: skip
Speedup = Annotated[
    float | None,
    typer.Option(
        "--speedup",
        callback=above(1, "how many times faster,"),
        help="Budget: this many times faster than dense, whole sentences, on this machine.",
    ),
]
LatencyMs = Annotated[
    float | None,
    typer.Option("--latency-ms", callback=above(0, "milliseconds"), help="Budget: milliseconds for one sentence on this machine."),
]  # fmt: skip
Stock = Annotated[
    bool, typer.Option("--stock", help="Only cut what a stock configuration expresses; needs no code to load.")
]
ExportPrecision = Annotated[ExportPrecisions, typer.Option("--precision", help="Precision of the exported model.")]
TrainPrecision = Annotated[
    TrainPrecisions | None,
    typer.Option("--train-precision", help="Precision of training (default: the recipe's, auto)."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", callback=pairs, metavar="KEY=VALUE", help="A value of the recipe, such as prune.search=16; repeat for several."),
]  # fmt: skip
Until = Annotated[
    str | None,
    typer.Option(
        "--until",
        callback=stage_named,
        metavar="STAGE",
        help=f"Stop after this stage; the same command without it goes on (default: do all of those the run needs: {', '.join(stage_names())}).",
    ),
]
Device = Annotated[Devices, typer.Option("--device", help="Device to train on; auto takes the GPU if there is one.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what --out holds of an earlier run.")]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Say what will be kept, how fast and how large it will be, and stop before it is trained."
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Number of threads used for timing (default: the recipe's, 1).")
]
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch", min=1, help="Number of sentences translated at once for timing (default: the recipe's, 1)."
    ),
]
Runtime = Annotated[
    str | None, typer.Option("--runtime", callback=not_empty, help="Runtime that runs the model (default: onnxruntime); see `tprune runtimes`.")
]  # fmt: skip
TrimVocab = Annotated[
    str | None,
    typer.Option(
        "--trim-vocab",
        callback=trimming,
        help="Keep only the tokens of these sentences: `train`, or two files, SOURCE,TRANSLATIONS.",
    ),
]
OutputVocab = Annotated[
    int | None,
    typer.Option("--output-vocab", min=1, help="Most tokens that the smaller model writes; words with others are spelled with shorter ones."),
]  # fmt: skip
BleuTokenize = Annotated[
    str | None,
    typer.Option(
        "--bleu-tokenize",
        callback=bleu_tokenizer,
        metavar="NAME",
        help="sacreBLEU's tokeniser for BLEU, such as 13a, zh, ja-mecab, ko-mecab, char or flores200 (default: the one that fits the script of the references).",
    ),
]
LongLines = Annotated[
    LongLinesHow | None,
    typer.Option(
        "--long-lines",
        help="Sentences of more tokens than the model has positions: skip leaves them out, crop keeps their beginnings, fail stops (default: the recipe's, skip). Above 1 % of them all stop.",
    ),
]
LongShare = Annotated[
    float,
    typer.Option(
        "--long-share", min=0.0, max=1.0, help="The share of sentences that --long-lines may leave out or crop."
    ),
]
GivenPlan = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        exists=True,
        dir_okay=False,
        help="A selected plan (plan.json) to follow instead of choosing one; needs no target.",
    ),
]
