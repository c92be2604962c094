"""The words that options take."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from tprune.core.kinds import TO_CUT, Kind


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


class Precisions(StrEnum):
    """What an exported model computes in; see `tprune.core.precision.NUMBERS`."""

    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"
    INT8_WEIGHTS = "int8-weights"
    INT4_WEIGHTS = "int4-weights"


class TrainPrecisions(StrEnum):
    """What training computes in."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
