"""Bad input in great numbers: how much of it, how it is made, and what may come of it."""

import os
import resource
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tprune.support.errors import TpruneError

LONG = os.environ.get("TPRUNE_FUZZ") == "1"  # by `make fuzz`
SECONDS = 20.0  # more is a hang
MEMORY = 4 << 30  # bytes that a process may have grown to


def examples(long: int) -> settings:
    """So many examples in the long form, a twentieth in the short one."""
    number = long if LONG else max(10, long // 20)
    odd = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large)
    return settings(max_examples=number, deadline=None, derandomize=True, suppress_health_check=odd, database=None)


def survives(work: Callable[[], Any]) -> str | None:
    """Runs it: fine, or refused in one short line, in time and in bounded memory. Anything else fails the test."""
    started, said = time.monotonic(), None
    try:
        work()
    except TpruneError as error:
        said = str(error)
        assert said and len(said) < 2000, f"{len(said)} characters: {said[:300]}"
    assert time.monotonic() - started < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < MEMORY
    return said


def mutated(good: bytes, junk: list[bytes]) -> st.SearchStrategy[bytes]:
    """The good bytes after a few cuts, repetitions and insertions of junk."""
    place = st.integers(0, len(good))
    inserted = st.tuples(place, st.one_of(st.sampled_from(junk), st.binary(max_size=8)))
    removed = st.tuples(place, st.integers(1, 60))

    def change(insertions: list[tuple[int, bytes]], removals: list[tuple[int, int]]) -> bytes:
        found = good
        for at, length in removals:
            found = found[:at] + found[at + length :]
        for at, what in insertions:
            found = found[:at] + what + found[at:]
        return found

    return st.builds(change, st.lists(inserted, max_size=3), st.lists(removed, max_size=2))
