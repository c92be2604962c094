"""Options of whole runs: what is asked for, what is cut, how it is trained and timed, and where it goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from tprune.cli.options.checks import (
    above,
    named,
    numbers,
    one_target,
    pairs,
    renamed,
    speeds,
    stage_named,
    trimming,
)
from tprune.cli.options.choices import Devices, Kinds, Objectives, Trackers, TrainPrecisions, Wanted
from tprune.cli.options.data import LongLines
from tprune.cli.options.single import AsJson, MaxInt8Loss, Runtime
from tprune.cli.options.sizes import BytesAsked, MacsAsked, ParamsAsked
from tprune.run.stage import names as stage_names


@dataclass(frozen=True)
class Budget:
    """What the pruned model may cost."""

    PANEL: ClassVar[str] = "Budget (one of these)"
    macs: MacsAsked = None
    params: ParamsAsked = None
    size: BytesAsked = None
    memory_mb: Annotated[
        float | None,
        typer.Option(
            "--memory-mb", callback=above(0, "megabytes"), help="Peak memory of the process that runs the model, in MB."
        ),
    ] = None
    speedup: Annotated[
        str | None,
        typer.Option(
            "--speedup",
            callback=speeds,
            metavar="<float>[,<float>...]",
            help="Speedup over the dense model in fp32 on this machine; of translation models for whole sentences. "
            "Several are compared by --dry-run.",
        ),
    ] = None
    latency_ms: Annotated[
        float | None,
        typer.Option(
            "--latency-ms",
            callback=above(0, "milliseconds"),
            help="Latency of one input on this machine, in milliseconds; of translation models of a sentence.",
        ),
    ] = None
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            exists=True,
            dir_okay=False,
            help="A selected plan (plan.json), which is followed instead of choosing one.",
        ),
    ] = None

    def targets(self, needed: bool) -> dict[str, float | None]:
        """By key of a recipe's `prune`.

        Raises `typer.BadParameter` where there are several, or none and one is needed.
        """
        found = {
            "macs": self.macs,
            "params": self.params,
            "bytes": self.size,
            "memory_mb": self.memory_mb,
            "speedup": min(numbers(self.speedup), default=None),
            "latency_ms": self.latency_ms,
        }
        one_target(self.plan, needed, **found)
        return found

    def compared(self, dry: bool) -> tuple[float, ...]:
        """The speeds that a dry run compares; none where one is asked for, or none.

        Raises `typer.BadParameter` for several in a run that is to train.
        """
        found = numbers(self.speedup)
        if len(found) < 2:
            return ()
        if not dry:
            raise typer.BadParameter(f"--speedup {self.speedup}: several are compared by --dry-run; then give one")
        return found


@dataclass(frozen=True)
class Cutting:
    """What may be cut."""

    PANEL: ClassVar[str] = "Cutting"
    kinds: Annotated[
        list[Kinds] | None,
        typer.Option(
            "--kind",
            help="Kind of couplings that may be cut; repeat for several (default: the recipe's; ffn, heads, qk and "
            "vo).",
        ),
    ] = None
    objective: Annotated[
        Objectives | None,
        typer.Option(
            "--objective",
            help="What is measured to share the budget: the loss on references, or the divergence of the outputs' "
            "distributions from the dense model's, which uses references only as decoder input (default: the "
            "recipe's, loss).",
        ),
    ] = None
    stock: Annotated[
        bool,
        typer.Option(
            "--stock",
            help="Cut only what a stock configuration of transformers expresses; loading needs no other code.",
        ),
    ] = False
    trim_vocab: Annotated[
        str | None,
        typer.Option(
            "--trim-vocab",
            callback=trimming,
            help="Sentences whose tokens stay in the vocabulary: `train`, or two files, SOURCE,TRANSLATIONS "
            "(default: all tokens stay).",
        ),
    ] = None
    output_vocab: Annotated[
        int | None,
        typer.Option(
            "--output-vocab",
            min=1,
            help="Largest number of tokens that the pruned model writes; words with other tokens are spelled with "
            "shorter ones (default: all).",
        ),
    ] = None
    written: Annotated[str | None, typer.Option("--written", hidden=True, callback=renamed("--output-vocab"))] = None


@dataclass(frozen=True)
class Training:
    """How it is trained."""

    PANEL: ClassVar[str] = "Training"
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=0, help="Number of training steps of recovery (default: the recipe's, 3000)."),
    ] = None
    one_shot: Annotated[
        bool,
        typer.Option("--one-shot", help="Prune without training, in minutes, from a few hundred examples."),
    ] = False
    train_precision: Annotated[
        TrainPrecisions | None,
        typer.Option("--train-precision", help="Precision of training (default: the recipe's, auto)."),
    ] = None
    long_lines: LongLines = None
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, max=2**32 - 1, help="Seed of weights, batches and dropout (default: the recipe's, 0)."
        ),
    ] = None
    device: Annotated[
        Devices, typer.Option("--device", help="Device to train on; auto takes the GPU if there is one.")
    ] = Devices.AUTO
    shard: Annotated[
        bool,
        typer.Option(
            "--shard",
            help="Divide weights, gradients and optimizer state among the processes that torchrun started (FSDP2); "
            "without it each has all of them.",
        ),
    ] = False
    tracker: Annotated[
        Trackers | None,
        typer.Option("--tracker", help="Where the curves of training and selection go too (default: nowhere)."),
    ] = None

    @property
    def placed(self) -> tuple[str, bool, str | None]:
        """The device, whether it is shared, and the tracker."""
        return self.device.value, self.shard, self.tracker and self.tracker.value


@dataclass(frozen=True)
class Timing:
    """How models are timed."""

    PANEL: ClassVar[str] = "Timing"
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="Number of threads used for timing (default: the recipe's, 1)."),
    ] = None
    batch: Annotated[
        int | None,
        typer.Option("--batch", min=1, help="Number of inputs in a batch used for timing (default: the recipe's, 1)."),
    ] = None
    runtime: Runtime = None
    precision: Annotated[
        Wanted | None,
        typer.Option(
            "--precision",
            help="Precision in which the pruned model will be used; a time that is asked for is of it. With auto every "
            "sublayer takes int8 or fp32, so that the asked time or memory costs least loss; for these targets alone, "
            "in onnxruntime (default: the recipe's, fp32).",
        ),
    ] = None
    max_int8_loss: MaxInt8Loss = None


@dataclass(frozen=True)
class Begin:
    """Where a run is written, and how far it goes."""

    PANEL: ClassVar[str] = "Output"
    out: Annotated[
        Path,
        typer.Option("--out", parser=named, metavar="<path>", help="Directory of the run; a run in it is resumed."),
    ]
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            callback=stage_named,
            metavar="STAGE",
            help="Last stage; the same command without this option goes on (default: all stages that the run needs, of "
            f"{', '.join(stage_names())}).",
        ),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Stop before training, and write which groups stay, how fast and how large the result will be.",
        ),
    ] = False
    force: Annotated[bool, typer.Option("--force", help="Delete the earlier run in --out instead of resuming it.")] = (
        False
    )
    as_json: AsJson = False


@dataclass(frozen=True)
class Settings:
    """What a recipe says that no option does."""

    PANEL: ClassVar[str] = "Recipe"
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            callback=pairs,
            metavar="KEY=VALUE",
            help="Value of a key of the recipe, such as prune.search=16; repeat for several.",
        ),
    ] = None


@dataclass(frozen=True)
class BaseRecipe(Settings):
    """The recipe of `prune`."""

    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", help="YAML file of a recipe with the settings (default: the built-in recipe)."),
    ] = None
