"""What a bundle says of itself in `manifest.json`, for apps and for `tprune_runtime`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tprune import __version__
from tprune.core.graph import Signature, TensorSpec
from tprune.runtimes.bundle.golden import GOLDEN
from tprune.runtimes.bundle.licenses import License
from tprune.runtimes.layout import MODEL_SETTINGS, Layout
from tprune.runtimes.parity import ELSEWHERE
from tprune.runtimes.runtime import Runtime, Shipping
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.support.files import read_json
from tprune.support.machine import version_of
from tprune.support.manifest import Manifest
from tprune_runtime.manifest import FORMAT
from tprune_runtime.piece_tokens import SENTENCEPIECE
from tprune_runtime.token_settings import SETTINGS

TOKENISER = ("tokenizer.json", *SENTENCEPIECE, SETTINGS)


def manifest_of(
    layout: Layout, runtime: Runtime, shipping: Shipping, folder: Path, licenses: Mapping[str, License]
) -> dict[str, Any]:
    """The content of `manifest.json`.

    Args:
        layout: of the exported folder.
        runtime: that it is for.
        shipping: the same, which can say what a device needs.
        folder: the bundle, whole but for this file.
        licenses: of what is in it, by name.
    """
    files = Manifest.of(folder)
    outputs = shipping.outputs(folder, layout)
    version = {"version": version_of(runtime.package), "minimum": shipping.oldest(folder, layout)}
    return {
        "format": FORMAT,
        "tprune": __version__,
        "task": layout.task,
        "runtime": {"name": runtime.name, **version},
        "precision": {"name": layout.precision.name, "exceptions": list(layout.precision.exceptions)},
        "phases": list(layout.phases),
        "parameters": layout.parameters,
        "graphs": [_graph(graph, outputs[graph.name]) for graph in layout.graphs],
        "step": _step(layout),
        "limits": dict(layout.limits),
        "labels": _labels(folder),
        **_tokens(layout, folder),
        "tokenizer": [name for name in TOKENISER if name in files.stamps],
        "golden": {"file": GOLDEN, "tolerance": {"ids": "exact", "logits": ELSEWHERE[layout.precision.name]}},
        "licenses": {name: {"name": one.name, "files": sorted(one.files)} for name, one in licenses.items()},
        "certificate": "certificate.json",
        "files": files.to_dict(),
    }


def _graph(graph: Signature, outputs: Sequence[TensorSpec]) -> dict[str, Any]:
    return {
        "name": graph.name,
        "file": f"{graph.name}.onnx",
        "inputs": [_spec(spec) for spec in graph.inputs],
        "outputs": [_spec(spec) for spec in outputs],
        "states": [list(pair) for pair in graph.states],
    }


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "dims": list(spec.dims)}


def _step(layout: Layout) -> dict[str, Any] | None:
    """Which graph is run token by token, by the names of its inputs; None for a model that runs in one pass."""
    if isinstance(layout, TranslationLayout):
        return {
            "graph": "decoder",
            "tokens": "input_ids",
            "mask": None,
            "position": "position",
            "encoder": "encoder",
        }
    if not layout.graphs[0].states:
        return None
    tokens, mask = layout.graphs[0].text
    return {"graph": layout.graphs[0].name, "tokens": tokens, "mask": mask, "position": None, "encoder": None}


def _labels(folder: Path) -> list[str]:
    """The names of classes in order; none where the model's configuration numbers them otherwise, or has none."""
    said = read_json(folder / MODEL_SETTINGS) if (folder / MODEL_SETTINGS).is_file() else {}
    numbers = said.get("label2id") or {}
    names = sorted(numbers, key=lambda name: numbers[name])
    return names if [numbers[name] for name in names] == list(range(len(names))) else []


def _tokens(layout: Layout, folder: Path) -> dict[str, Any]:
    """Token ids that mean something, and how greedy search decodes, in the decoder's numbers.

    `rows` has the token of each of the decoder's numbers; none where they are the same.
    """
    if not isinstance(layout, TranslationLayout):
        said = read_json(folder / MODEL_SETTINGS) if (folder / MODEL_SETTINGS).is_file() else {}
        ends = said.get("eos_token_id")
        listed = ends if isinstance(ends, list) else [] if ends is None else [ends]
        ids = {"bos": said.get("bos_token_id"), "eos": listed, "pad": said.get("pad_token_id")}
        return {"ids": ids, "decoding": None, "rows": [], "vocabulary": said.get("vocab_size")}
    g = layout.generation
    ids = {
        "decoder_start": g.decoder_start_token_id,
        "bos": g.forced_bos_token_id,
        "eos": list(g.eos_token_id),
        "pad": g.pad_token_id,
    }
    return {
        "ids": ids,
        "decoding": asdict(layout.decoding),
        "rows": list(layout.rows),
        "vocabulary": layout.vocabulary,
        "source_positions": layout.source_positions,
    }
