"""Keys of recipes that were renamed before the first release, so that an old recipe is refused with the new name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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

OLD_STAGES = {"time": "profile", "teach": "distill-data", "spell": "resegment"}


def current(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a recipe with old keys under their new names.

    Example:
        >>> current({"beams": 4, "prune": {"budget": "loss", "macs": 0.5}})
        {'prune': {'macs': 0.5, 'allocation': 'loss'}, 'num_beams': 4}
    """
    found = {key: dict(value) if isinstance(value, Mapping) else value for key, value in recipe.items()}
    for old, new in RENAMED.items():
        *section, name = old.split(".")
        inside: Any = found.get(section[0], {}) if section else found
        if isinstance(inside, dict) and name in inside:
            inside[new.rpartition(".")[2]] = inside.pop(name)
    return found


def new_name(key: Sequence[str]) -> str | None:
    """The name that a key has now; None where it was never another's.

    Example:
        >>> new_name(["prune", "regain"])
        'prune.expected_recovery'
    """
    return RENAMED.get(".".join(key))
