"""What a run is called: short names of its model and of its sentences, for the titles of its pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tprune.core.data import Data as DataSet
from tprune.data.parallel import Parallel
from tprune.data.splits import Splits
from tprune.recipe.schema import Data, Model, Recipe

INNER = ("dense", "pruned", "cut", "trimmed")  # models inside a run, whose own names say nothing


def names_of(recipe: Recipe, corpus: Splits[Any], model: str | None) -> dict[str, str]:
    """The names of the dense model and of the training, validation and test data."""
    tests = dict.fromkeys(data_name(pairs, recipe.data) for pairs in corpus.tests.values())
    return {
        "model": trained_name(recipe.model) if model is None else model_name(model),
        "train": data_name(corpus.train, recipe.data),
        "valid": data_name(corpus.valid, recipe.data),
        "test": ", ".join(tests),
    }


def model_name(model: str) -> str:
    """The last part of a path or of a hub id; with the run's name for a model inside a run.

    Example:
        >>> model_name("Helsinki-NLP/opus-mt-en-de"), model_name("runs/demo/dense/")
        ('opus-mt-en-de', 'demo/dense')
    """
    path = _absolute(model)
    return f"{path.parent.name}/{path.name}" if path.name in INNER else path.name or model


def trained_name(spec: Model) -> str:
    """A model that the run trains itself, by its family and size.

    Example:
        >>> trained_name(Model(d_model=128, layers=(2, 2)))
        'Marian (2+2 layers, width 128)'
    """
    encoder, decoder = spec.layers
    return f"{spec.family.title()} ({encoder}+{decoder} layers, width {spec.d_model})"


def data_name(pairs: DataSet, spec: Data) -> str:
    """The two files of sentence pairs, with their folder where a recipe names them.

    Else the data set, or the built-in grammar.

    Example:
        >>> data_name(Parallel(("a",), ("b",), "a.en", ("text/a.en", "text/a.de")), Data())
        'a.en/a.de'
        >>> data_name(Parallel(("a",), ("b",), "some/multi30k, train"), Data())
        'multi30k'
    """
    if isinstance(pairs, Parallel) and pairs.files is not None:
        source, target = map(_absolute, pairs.files)
        files = f"{source.name}/{target.name}"
        return f"{source.parent.name} ({files})" if spec.files else files
    if spec.grammar and pairs.name in ("train", "valid", "held_out"):
        return "generated sentences"
    name = pairs.name.rpartition(", ")[0] or pairs.name
    return _absolute(name).name or name


def _absolute(path: str) -> Path:
    """A path that ends in a name; links are not followed, because their own names were chosen to be read."""
    found = Path(path).absolute()
    return found.resolve() if found.name == ".." else found
