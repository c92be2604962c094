"""Keys of recipes that were renamed before the first release, so that an old recipe is refused with the new name."""

from __future__ import annotations

from collections.abc import Sequence

STAGES = ("train", "analyze", "prune", "recover")
TRAINING = {"tokens": "batch_tokens", "smoothing": "label_smoothing"}
WITH_TEACHER = {"hidden": "hidden_distillation", "sequence": "sequence_distillation"}
RENAMED = {
    **{f"{stage}.{old}": f"{stage}.{new}" for stage in STAGES for old, new in TRAINING.items()},
    **{f"{stage}.{old}": f"{stage}.{new}" for stage in ("prune", "recover") for old, new in WITH_TEACHER.items()},
    "prune.budget": "prune.allocation",
    "prune.regain": "prune.expected_recovery",
    "prune.written": "prune.output_vocabulary",
    "beams": "num_beams",
    "precision": "train_precision",
}


def new_name(key: Sequence[str]) -> str | None:
    """The name that a key has now; None where it was never another's.

    Example:
        >>> new_name(["prune", "regain"])
        'prune.expected_recovery'
    """
    return RENAMED.get(".".join(key))
