"""The losses of couplings that a run has measured, kept so that another target does not measure them again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from hashlib import sha1

import torch
from torch import Tensor

from tprune.budget.evidence import Curves, Measure
from tprune.budget.request import limits_of
from tprune.budget.samples import ALONE, CALIBRATION, FITTED
from tprune.core.curves import Curve
from tprune.core.objectives import DEFAULT
from tprune.core.plan import fingerprint
from tprune.run.work import Work
from tprune.support.files import read_json, write_json


def kept_losses(work: Work, measure: Measure) -> Curves:
    """The losses of the plan's couplings, from the folder where it has those of the same model, data and limits.

    Args:
        work: what is compressed.
        measure: measures them.
    """
    file, key = work.start.folder / "work" / "losses.json", _key(work)
    try:
        known = read_json(file)
        if known["key"] == key:
            return tuple(Curve(c["name"], tuple(c["kept"]), tuple(c["losses"])) for c in known["curves"])
    except (ValueError, KeyError, TypeError):  # none yet, or damaged: they are measured
        pass
    found = measure()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"key": key, "curves": [asdict(curve) for curve in found]})
    return found


def kept_int8_losses(work: Work, measure: Callable[[], Mapping[str, float]]) -> Mapping[str, float]:
    """What int8 adds to each part of the model, from the folder where it has that of the same model and data.

    Args:
        work: what is compressed.
        measure: measures it.
    """
    file, key = work.start.folder / "work" / "int8.json", f"{_key(work)} {asdict(work.start.setting.precision)}"
    try:
        known = read_json(file)
        if known["key"] == key:
            return {str(name): float(loss) for name, loss in known["losses"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    found = measure()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"key": key, "losses": dict(found)})
    return found


def _key(work: Work) -> str:
    """What the losses depend on."""
    how, data = work.how, work.material
    said = {
        "model": fingerprint(work.start.dense),
        "weights": _digest(work.start.dense.state_dict().values()),
        "couplings": [coupling.name for coupling in work.plan.couplings],
        "limits": asdict(limits_of(how, work.plan)),
        "recovery": dict(how.expected_recovery),
        "data": [
            _digest(x for batch in batches for x in batch.values())
            for batches in (
                data.batches(data.train, FITTED),
                data.batches(data.valid, ALONE if how.search else CALIBRATION),
            )
        ],
    }
    if how.objective != DEFAULT:  # what was measured before there was another objective stays
        said["objective"] = how.objective
    return sha1(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _digest(parts: Iterable[Tensor]) -> str:
    found = sha1()
    for part in parts:
        found.update(part.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
