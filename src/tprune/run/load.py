"""`tprune.load` and `tprune.load_tokenizer`: of a directory, a hub id, or a run, which stands for its pruned model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from tprune.core.model import Model, Tokenizer
from tprune.realise import checkpoint
from tprune.run.lookup import folder_at, model_at


def load(
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    offline: bool = False,
    trust_remote_code: bool = False,
    dense: bool = False,
    architecture: Callable[..., nn.Module] | None = None,
) -> Model:
    """Loads a model from a directory, a run or, by its id, from the hub, with all its weights in place.

    Args:
        path: a directory, a hub id, or a run, which stands for its pruned model.
        dtype: as saved if not given. Widening belongs here: Marian computes its positions in the precision it is loaded
            in.
        offline: never ask the hub.
        trust_remote_code: run code that comes with the model; code that we wrote beside a pruned model is never needed
            here.
        dense: of a run, its dense model instead.
        architecture: the class of a model that is no part of transformers, called with what its `config.json` says.

    Raises:
        InputError: no such model, a damaged file, weights that do not fit the configuration, files beside them that
            change them (adapters, quantization), or a model with code of its own that is not trusted.

    Warns:
        TpruneWarning: the checkpoint holds leftovers of older libraries, or the settings of `generate` contradict each
            other.
    """
    return checkpoint.load(
        model_at(path, dense),
        dtype=dtype,
        offline=offline,
        trust_remote_code=trust_remote_code,
        architecture=architecture,
    )


def load_tokenizer(
    path: str | Path, *, offline: bool = False, trust_remote_code: bool = False, dense: bool = False
) -> Tokenizer:
    """Loads a model's tokeniser; of a run, that of its pruned model, or with `dense` of its dense one.

    Args:
        path: a directory, a hub id, or a run.
        offline: never ask the hub.
        trust_remote_code: run code that comes with the tokeniser.
        dense: of a run, the tokeniser of its dense model.

    Raises:
        InputError: there is none that can be read, its code is not trusted, or it has more tokens than the model beside
            it.

    Warns:
        TpruneWarning: its end or padding token is not the model's.
    """
    found: Tokenizer = checkpoint.load_tokenizer(
        folder_at(path, dense), offline=offline, trust_remote_code=trust_remote_code
    )
    return found
