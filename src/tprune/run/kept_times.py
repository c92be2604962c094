"""What a precision alone makes faster, kept so that another target in the same folder does not time it again."""

from __future__ import annotations

import time
from collections.abc import Callable

from tprune.costs.latency.cache import HOUR, key_of
from tprune.run.work import Work
from tprune.support.files import read_json, write_json


def kept_speedup(work: Work, measure: Callable[[], float]) -> float:
    """The speedup by the precision alone, from the folder where it has that of the same model, machine and setting.

    One that is older than an hour is measured again: the machine may have changed, as latency tables are looked at
    again then.

    Args:
        work: what is compressed.
        measure: measures it.
    """
    timed = work.dense_timing
    file = work.start.folder / "work" / f"faster-in-{timed.setting.precision.name}.json"
    key = key_of(timed.model, timed.setting, timed.inputs, timed.task)
    try:
        known = read_json(file)
        if known["key"] == key and time.time() - file.stat().st_mtime < HOUR:
            return float(known["speedup"])
    except (ValueError, KeyError, TypeError):  # none yet, or damaged: it is measured
        pass
    found = measure()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"key": key, "speedup": found})
    return found
