"""Puts back into peers.json what its models were asked for first; a later edit had put there what they came out at.

    git show 15df18c:benchmarks/peers/peers.json > first.json && python -m benchmarks.peers.asked first.json

A model of the first file is known by method, seed, what it kept and how long it recovered. `named` keeps the speed in
the model's name, by which tables group. What the first file does not have keeps what its own run stored; a model
without an `aim` that is not in the first file was renamed without a trace, so what it was asked for is null. Running it
again changes nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tprune.support.files import read_json, write_json

NUMBERS = Path(__file__).with_name("peers.json")
SOURCE = "benchmarks/peers/peers.json at 15df18c, by benchmarks/peers/asked.py"
SAME = ("method", "seed", "kept", "recovery_steps")
Row = Mapping[str, Any]


def asked_first(rows: Sequence[Row], first: Sequence[Row]) -> dict[str, float | None]:
    """What was asked for, by name, of the rows of a table of which an earlier one is given."""
    earlier = {repr([_plain(row.get(key)) for key in SAME]): row["asked"] for row in first}
    found: dict[str, float | None] = {}
    for row in rows:
        own = row["asked"] if row.get("aim") is not None or row["method"] in ("dense", "fewer-tokens") else None
        found[row["name"]] = earlier.get(repr([_plain(row.get(key)) for key in SAME]), own)
    return found


def _plain(value: Any) -> Any:
    return sorted(value.items()) if isinstance(value, Mapping) else value


def corrected(data: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, Any]:
    """The table with `asked` as it was asked first, and `named` as the models are called."""
    found = asked_first(data["rows"], first["rows"])
    rows = [_changed(row, found[row["name"]]) for row in data["rows"]]
    of_group = {(row["method"], row["named"]): (row["asked"], row.get("aim")) for row in rows}
    together = []
    for group in data["together"]:
        asked, aim = of_group[group["method"], group.get("named", group["asked"])]
        together.append({**_changed(group, asked), "aim": aim})
    return {**data, "rows": rows, "together": together, "asked_from": SOURCE}


def _changed(row: Row, asked: float | None) -> dict[str, Any]:
    rest = {key: value for key, value in row.items() if key not in ("named", "asked")}
    begin = {key: rest.pop(key) for key in ("name", "method") if key in rest}
    return {**begin, "named": row.get("named", row["asked"]), "asked": asked, **rest}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="the table as it was first")
    write_json(NUMBERS, corrected(read_json(NUMBERS), read_json(parser.parse_args().first)))
