"""Checks a bundle: files, version of the runtime, graphs, and golden outputs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tprune_runtime.digest import compared
from tprune_runtime.manifest import MANIFEST, RUNTIME, read_manifest
from tprune_runtime.replay import Graphs, replayed


@dataclass(frozen=True)
class Line:
    """The outcome of a check, in one line."""

    passed: bool
    text: str


def check(folder: Path, threads: int = 1) -> Iterator[Line]:
    """All checks of a bundle; those of files and of the runtime come first, and if one fails no graph is loaded."""
    try:
        manifest = read_manifest(folder)
        before = [*_files(folder, manifest), _precision(folder, manifest), _version(manifest)]
        yield from before
        if not all(line.passed for line in before):
            return
        graphs = Graphs(folder, manifest, threads)
        yield Line(True, f"graphs: {', '.join(graph['file'] for graph in manifest['graphs'])}")
        name = manifest["golden"]["file"]
        for text in (folder / name).read_text(encoding="utf-8").splitlines():
            yield _case(graphs, json.loads(text), manifest["golden"]["tolerance"]["logits"])
    except (ValueError, OSError) as error:
        yield Line(False, " ".join(str(error).split())[:500])
    except (KeyError, TypeError, AttributeError) as error:
        yield Line(False, f"{MANIFEST}: not the manifest of a bundle ({type(error).__name__}: {error})")


def _files(folder: Path, manifest: Any) -> Iterator[Line]:
    """A line for each file that is not as it was made, or one for all."""
    total, wrong = 0, False
    for name, stamp in manifest["files"].items():
        total += stamp["bytes"]
        if fault := _fault(folder / Path(name).name, stamp):
            wrong = True
            yield Line(False, f"{name}: {fault}")
    if not wrong:
        yield Line(True, f"files: {len(manifest['files'])}, {total:,} bytes")


def _fault(path: Path, stamp: Any) -> str:
    try:
        if (size := path.stat().st_size) != stamp["bytes"]:
            return f"has {size:,} bytes, expected {stamp['bytes']:,}: another file than the bundle was made with"
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == stamp["sha256"]
        return "" if same else "has another sha256 than when the bundle was made"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _precision(folder: Path, manifest: Any) -> Line:
    """Whether the certificate is of the precision that the manifest names."""
    name, expected = "certificate.json", manifest["precision"]["name"]
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))["precision"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return Line(False, f"{name}: cannot be read, or names no precision; expected {expected}")
    return Line(found == expected, f"precision: {found}" if found == expected else f"{name}: {found}, not {expected}")


def _version(manifest: Any) -> Line:
    name, least = manifest["runtime"]["name"], manifest["runtime"]["minimum"]
    if name != RUNTIME:
        return Line(False, f"{MANIFEST}: for {name}; tprune_runtime replays {RUNTIME} alone")
    try:
        import onnxruntime
    except ImportError:
        return Line(False, f"{RUNTIME} is not installed; expected {least} or newer")
    found = onnxruntime.__version__
    return Line(_numbers(found) >= _numbers(least), f"{RUNTIME} {found}; expected {least} or newer")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


def _case(graphs: Graphs, case: Any, limit: float) -> Line:
    try:
        ids, logits = replayed(graphs, case)
        off, fault = compared(case["digest"], logits, limit)
    except Exception as error:  # of onnxruntime, whose classes are not public
        return Line(False, f"{case['name']}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    if fault:
        return Line(False, f"{case['name']}: {fault}")
    if ids is not None and ids != case["ids"]:
        step = next(i for i, (want, have) in enumerate(zip(case["ids"], ids, strict=True)) if want != have)
        return Line(False, f"{case['name']}: step {step + 1}: token {ids[step]}, expected {case['ids'][step]}")
    what = f"{len(ids)} ids" if ids is not None else f"{len(case['digest']['max'])} positions"
    return Line(True, f"{case['name']}: {what}, logits off by {off:.1e} of the largest")
