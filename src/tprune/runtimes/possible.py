"""Whether an export can be made at all, asked before any weights are loaded. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tprune.core.graph import BUILDS
from tprune.core.precision import Precision
from tprune.realise.model_files import EXPORTED
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.certificate import CERTIFICATE
from tprune.runtimes.layout import MODEL_SETTINGS
from tprune.runtimes.runtime import Runtime
from tprune.support.errors import InputError
from tprune.support.machine import version_of
from tprune_runtime.piece_tokens import SENTENCEPIECE
from tprune_runtime.token_settings import SETTINGS

GRAPHS = {f"{name}.onnx" for name in ("encoder", "decoder", "model")}
WRITTEN = {
    *GRAPHS,
    *EXPORTED,
    "tokenizer.json",
    *SENTENCEPIECE,
    SETTINGS,
    MODEL_SETTINGS,
    CERTIFICATE,
    "preprocessor_config.json",
    *("vocab.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
}


def builds_of(config: Mapping[str, object]) -> tuple[str, ...]:
    """The names of the skeletons that a model may have, by its configuration alone.

    Args:
        config: the content of `config.json`; empty where there is none yet.

    Example:
        >>> builds_of({"is_encoder_decoder": True}), builds_of({"model_type": "bert"})
        (('encoder-decoder',), ('decoder-only', 'single-pass'))
    """
    if not config:
        return BUILDS
    both = config.get("is_encoder_decoder") is True
    return tuple(build for build in BUILDS if (build == "encoder-decoder") is both)


def check_supported(runtime: Runtime, precision: Precision, builds: Sequence[str], model: str) -> None:
    """Whether a runtime runs models of a build in a precision, and is installed.

    Args:
        runtime: of any kind.
        precision: that the model would compute in.
        builds: names of skeletons, of which the model has one.
        model: what it is called in messages.

    Raises:
        InputError: the runtime runs none of the builds in the precision, or it is not installed.
    """
    reasons = [runtime.supports(precision, build) for build in builds]
    why = reasons[0]
    if why is not None and None not in reasons:
        raise InputError(f"cannot export {model} in {precision.name} for {runtime.name}: {why}")
    if version_of(runtime.package) is None:
        raise InputError(f"runtime {runtime.name} is not installed here; {runtime.install}")


def check_folder(out: Path) -> None:
    """Raises `InputError` where a folder holds anything that no export wrote."""
    if out.exists():
        known = set(WRITTEN)
        with suppress(InputError):  # a damaged one is still made of files of these names
            known |= set(read_layout(out).files.stamps)
        strange = sorted(x.name for x in out.iterdir() if x.name not in known) if out.is_dir() else [out.name]
        if strange:
            raise InputError(
                f"{out}: holds {strange[0]}, which no export wrote; expected a new folder or an older export"
            )
