"""Options that say where data is, for every task; translation has some of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from tprune.cli.given import Given
from tprune.cli.options.checks import bleu_tokenizer, column_names, named, not_empty, task_named
from tprune.cli.options.choices import LongLinesHow

FILES = (
    "CSV, TSV or JSON lines (.gz too), text files of sentences or tagged words, folders of images or "
    "recordings; repeat for several"
)


def path_option(name: str, says: str) -> Any:
    """An option that takes a path."""
    return typer.Option(name, parser=named, metavar="<path>", help=says)


@dataclass(frozen=True)
class Source:
    """How data is read."""

    PANEL: ClassVar[str] = "Data"
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            callback=not_empty,
            help="Data set of translations instead of files: a hub id, a folder of CSV, JSON lines or Parquet files of "
            "train, validation and test, or the folder of a recipe's files (default: the recipe's data set).",
        ),
    ] = None
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            callback=column_names,
            metavar="NAME,...",
            help="Columns of tables and data sets, such as text,label or sentence1,sentence2,score; for translation "
            "SOURCE,TARGET, with dots for what lies inside a column: translation.en,translation.de (default: the usual "
            "names).",
        ),
    ] = None
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            callback=task_named,
            help="Task of the model, such as text-classification (default: the task that its class is made for).",
        ),
    ] = None


@dataclass(frozen=True)
class TrainingFiles:
    """What training needs."""

    train: Annotated[list[Path] | None, path_option("--train", f"Training data: {FILES}.")] = None
    valid: Annotated[list[Path] | None, path_option("--valid", "Validation data, in the same formats.")] = None


@dataclass(frozen=True)
class AllFiles(TrainingFiles):
    """What a whole run needs."""

    test: Annotated[
        list[Path] | None,
        path_option("--test", "Test data, which is scored and timed (default: the validation data)."),
    ] = None


@dataclass(frozen=True)
class TestFiles:
    """What is scored."""

    test: Annotated[list[Path] | None, path_option("--test", f"Test data: {FILES}.")] = None
    train: Annotated[
        list[Path] | None,
        path_option(
            "--train", "Training data, whose frequencies make the baselines (default: those of the test data)."
        ),
    ] = None


@dataclass(frozen=True)
class TrainingSets(Source, TrainingFiles):
    """Data of verbs that train."""


@dataclass(frozen=True)
class AllSets(Source, AllFiles):
    """Data of whole runs."""


@dataclass(frozen=True)
class TestSets(Source, TestFiles):
    """Data of verbs that score."""


@dataclass(frozen=True)
class ValidSets(Source):
    """Data on which a loss is measured."""

    valid: Annotated[list[Path] | None, path_option("--valid", f"Validation data: {FILES}.")] = None


@dataclass(frozen=True)
class ValidPairs:
    """Sentence pairs on which a loss is measured."""

    PANEL: ClassVar[str] = "Translation"
    valid_src: Annotated[Path | None, path_option("--valid-src", "Source sentences for validation.")] = None
    valid_tgt: Annotated[Path | None, path_option("--valid-tgt", "Translations of these sentences.")] = None


@dataclass(frozen=True)
class TestPairs:
    """Sentence pairs to score."""

    PANEL: ClassVar[str] = "Translation"
    src: Annotated[Path | None, path_option("--src", "Source sentences, one a line (.gz too).")] = None
    tgt: Annotated[Path | None, path_option("--tgt", "Reference translations of these sentences, one a line.")] = None


@dataclass(frozen=True)
class TrainingPairs:
    """Sentence pairs for training and validation."""

    PANEL: ClassVar[str] = "Translation"
    src: Annotated[Path | None, path_option("--src", "Source sentences for training, one a line (.gz too).")] = None
    tgt: Annotated[Path | None, path_option("--tgt", "Translations of these sentences, one a line.")] = None
    valid_src: Annotated[Path | None, path_option("--valid-src", "Source sentences for validation.")] = None
    valid_tgt: Annotated[Path | None, path_option("--valid-tgt", "Translations of these sentences.")] = None


@dataclass(frozen=True)
class AllPairs(TrainingPairs):
    """Sentence pairs of a whole run."""

    test_src: Annotated[
        Path | None, path_option("--test-src", "Source sentences to score and time (default: those for validation).")
    ] = None
    test_tgt: Annotated[Path | None, path_option("--test-tgt", "Reference translations of these sentences.")] = None


LongLines = Annotated[
    LongLinesHow | None,
    typer.Option(
        "--long-lines",
        help="Treatment of sentences with more tokens than the model has positions: skip leaves them out, crop "
        "keeps their beginnings, fail stops (default: the recipe's, skip). With more than 1 % of such sentences, each "
        "of them stops.",
    ),
]
LongShare = Annotated[
    float,
    typer.Option(
        "--long-share", min=0.0, max=1.0, help="Largest share of sentences that --long-lines may leave out or crop."
    ),
]


@dataclass(frozen=True)
class LongSentences:
    """What becomes of sentences that are too long, in verbs without a recipe."""

    PANEL: ClassVar[str] = "Translation"
    long_lines: LongLines = None
    long_share: LongShare = 0.01


@dataclass(frozen=True)
class Scoring(LongSentences):
    """How translations are made and scored."""

    beams: Annotated[
        int | None,
        typer.Option("--beam", min=1, help="Number of beams; 1 is greedy search (default: as exported)."),
    ] = None
    bleu_tokenize: Annotated[
        str | None,
        typer.Option(
            "--bleu-tokenize",
            callback=bleu_tokenizer,
            metavar="NAME",
            help="Tokeniser of sacreBLEU for BLEU, such as 13a, zh, ja-mecab, ko-mecab, char or flores200 (default: "
            "the tokeniser that fits the script of the references).",
        ),
    ] = None

    @property
    def given(self) -> list[str]:
        """Those of these options that were given."""
        asked = {"--beam": self.beams, "--bleu-tokenize": self.bleu_tokenize, "--long-lines": self.long_lines}
        return [name for name, value in asked.items() if value is not None]


def given_data(sets: Source, pairs: TrainingPairs | ValidPairs | TestPairs) -> Given:
    """What both groups say together."""
    files = {split: tuple(getattr(sets, split, None) or ()) for split in ("train", "valid", "test")}
    sides = {option: getattr(pairs, option) for option in vars(pairs) if getattr(pairs, option) is not None}
    return Given({split: paths for split, paths in files.items() if paths}, sides, sets.data, sets.columns, sets.task)
