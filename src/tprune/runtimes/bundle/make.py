"""Makes a bundle of an exported folder, and replays it before it takes its place."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tprune.core.graph import BATCH, TOKENS, TOTAL
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.bundle.golden import GOLDEN, golden
from tprune.runtimes.bundle.licenses import License, of_model, of_tprune
from tprune.runtimes.bundle.manifest import TOKENISER, manifest_of
from tprune.runtimes.certificate import CERTIFICATE, ExportCertificate
from tprune.runtimes.layout import MODEL_SETTINGS, Layout
from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.opened import Opened, open_exported
from tprune.runtimes.parity import ELSEWHERE
from tprune.runtimes.runtime import Shipping, blamed, runtime_named
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.runtimes.translator import Translator
from tprune.support.errors import CertificateError, InputError
from tprune.support.files import atomic_directory, read_json, write_json
from tprune.support.machine import child_environment
from tprune_runtime.manifest import MANIFEST
from tprune_runtime.tokens import load_tokens

BESIDE = (MODEL_SETTINGS, "preprocessor_config.json")  # what an export may hold beside what its layout lists
Ids = Sequence[Sequence[int]]


@dataclass(frozen=True)
class BundleReport:
    """What a bundle holds.

    Attributes:
        files: bytes by name.
        cases: names of the golden cases.
        runtime: its name; `minimum` the oldest version that runs the bundle.
        precision: by name.
        licenses: by what they are of.
    """

    files: Mapping[str, int]
    cases: tuple[str, ...]
    runtime: str
    minimum: str
    precision: str
    licenses: Mapping[str, str]


def bundle(
    exported: str | Path, out: str | Path, sentences: Sequence[str] = (), model: str | Path | None = None
) -> BundleReport:
    """Makes a bundle: what an app ships of an exported model, with golden outputs of this machine.

    Args:
        exported: an exported folder.
        out: the folder of the bundle; an older bundle there is replaced once the new one is replayed.
        sentences: whose ids are the inputs of the golden outputs, for models that read text. A translation model needs
            at least one.
        model: folder of the model, for its license; that of the export is looked at too.

    Raises:
        InputError: no exported folder, one that is damaged or without a certificate, one of a runtime that
            `tprune_runtime` does not replay, or `out` holds something that is no bundle.
        CertificateError: `tprune_runtime` computes something else than tprune.

    Example:
        ```python
        bundle("onnx-small", "app/model", ["Two dogs play in the snow."]).cases  # ("greedy 1", "forced, 48 steps", ...)
        ```
    """
    exported, out = Path(exported), Path(out)
    layout = read_layout(exported)
    if _hears(layout):
        raise InputError(f"{exported}: a model for {layout.task}; bundles hold models that hear no recordings")
    runtime = runtime_named(layout.runtime)
    if not isinstance(runtime, Shipping):
        raise InputError(f"{exported}: exported for {runtime.name}; tprune_runtime replays onnxruntime alone")
    _check_certificate(exported, layout)
    _ours(out)
    licenses = {"tprune": of_tprune(), "model": of_model(_folders(exported, model))}
    with atomic_directory(out) as folder, blamed(runtime):
        for name in (*layout.files.stamps, CERTIFICATE, *BESIDE):
            if (exported / name).is_file():
                shutil.copyfile(exported / name, folder / name)
        cases = _write_golden(exported, layout, sentences, folder)
        _write_licenses(licenses, folder)
        made = manifest_of(layout, runtime, runtime, folder, licenses)
        write_json(folder / MANIFEST, made)
        _replay(folder, out)
        files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    said = {name: one.name for name, one in licenses.items()}
    return BundleReport(files, cases, runtime.name, made["runtime"]["minimum"], layout.precision.name, said)


def _hears(layout: Layout) -> bool:
    """Whether a model is given recordings: features of them, or signals of any length."""
    if isinstance(layout, TranslationLayout):
        return layout.hears is not None
    specs = [
        spec for graph in layout.graphs for spec in graph.given if np.issubdtype(np.dtype(spec.dtype), np.floating)
    ]
    return any(isinstance(dim, str) and dim != BATCH for spec in specs for dim in spec.dims)


def _check_certificate(exported: Path, layout: Layout) -> None:
    """Raises `InputError` where an export has none, or one of another precision."""
    if not (exported / CERTIFICATE).is_file():
        raise InputError(f"{exported}: no {CERTIFICATE}; export the model again")
    found = ExportCertificate.read(exported).precision
    if found != layout.precision:
        raise InputError(f"{exported / CERTIFICATE}: of {found}; expected {layout.precision}, export the model again")


def _ours(out: Path) -> None:
    """Raises `InputError` where `out` holds anything that no bundle has."""
    if not out.exists():
        return
    known = {MANIFEST}
    with suppress(InputError, KeyError, TypeError, AttributeError):  # a damaged one is named by its first file
        known |= set(read_json(out / MANIFEST)["files"])
    strange = sorted(path.name for path in out.iterdir() if path.name not in known) if out.is_dir() else [out.name]
    if strange:
        raise InputError(f"{out}: holds {strange[0]}, which is of no bundle; expected a new folder or an older bundle")


def _folders(exported: Path, model: str | Path | None) -> list[Path]:
    """Where the license of the model may lie."""
    if model is not None and not Path(model).is_dir():
        raise InputError(f"{model}: no such folder; expected that of the model, for its license")
    return [*([Path(model)] if model is not None else []), exported]


def _write_golden(exported: Path, layout: Layout, sentences: Sequence[str], folder: Path) -> tuple[str, ...]:
    opened, limit = open_exported(exported), ELSEWHERE[layout.precision.name]
    cases = golden(opened, _ids(opened, exported, sentences), limit)
    lines = [json.dumps(case.to_dict(limit), ensure_ascii=False) for case in cases]
    (folder / GOLDEN).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tuple(case.name for case in cases)


def _ids(opened: Opened, exported: Path, sentences: Sequence[str]) -> Ids:
    """The token ids of sentences that are not blank; none for a model without a tokeniser."""
    texts = [text for text in sentences if text.strip()]
    if isinstance(opened, Translator):
        return opened.encode(texts)
    assert isinstance(opened, OnePass)
    free = {dim for spec in opened.graph.given for dim in spec.dims}
    if not free & {TOKENS, TOTAL} or not any((exported / name).is_file() for name in TOKENISER):
        return []
    return [ids for ids in load_tokens(exported).encode(texts) if ids]


def _write_licenses(licenses: Mapping[str, License], folder: Path) -> None:
    for one in licenses.values():
        for name, content in one.files.items():
            (folder / name).write_bytes(content)


def _replay(folder: Path, out: Path) -> None:
    """Raises `CertificateError` where `tprune_runtime`, in a process of its own, does not find what tprune found."""
    command = [sys.executable, "-P", "-m", "tprune_runtime", "check", str(folder)]
    done = subprocess.run(command, env=child_environment(1), capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.startswith("FAILED")] or done.stderr.splitlines()
        raise CertificateError(f"{out}: the bundle does not pass its own check: {(lines or ['no output'])[0]}")
