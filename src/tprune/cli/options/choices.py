"""The words that options take."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from tprune.core.kinds import TO_CUT, Kind
from tprune.core.objectives import OBJECTIVES
from tprune.core.precision import AUTO, CALIBRATIONS, NUMBERS


class Blocks(StrEnum):
    """What `analyze` takes as a block."""

    MATRIX = "matrix"
    HEADS = "heads"


if TYPE_CHECKING:
    Kinds = Kind
else:  # what `prune` may cut; typer knows lists of enumerations, but none of literals
    Kinds = StrEnum("Kinds", {kind.upper(): kind for kind in TO_CUT})


# what is measured of couplings and selections
Objectives = StrEnum("Objectives", {name.upper(): name for name in OBJECTIVES})  # type: ignore[misc]


class Devices(StrEnum):
    """What trains."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Trackers(StrEnum):
    """Where curves go."""

    TENSORBOARD = "tensorboard"


class LongLinesHow(StrEnum):
    """What becomes of sentences that are too long for the model."""

    SKIP = "skip"
    CROP = "crop"
    FAIL = "fail"


# what an exported model computes in
Precisions = StrEnum("Precisions", {name.upper().replace("-", "_"): name for name in NUMBERS})  # type: ignore[misc]  # mypy wants literals

# how int8 scales activations
Calibrations = StrEnum("Calibrations", {name.upper(): name for name in CALIBRATIONS})  # type: ignore[misc]

# what a run may be asked for
Wanted = StrEnum("Wanted", {name.upper().replace("-", "_"): name for name in (*NUMBERS, AUTO)})  # type: ignore[misc]


class TrainPrecisions(StrEnum):
    """What training computes in."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
