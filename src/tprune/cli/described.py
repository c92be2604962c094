"""What an exported folder keeps of a model's configuration: what its task needs to encode data, beside the graphs."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from torch import nn

from tprune.core.graph import TOKENS
from tprune.core.task import Task, Transcribes
from tprune.data.image_processor import FILE
from tprune.realise.model_files import CONFIG, content
from tprune.realise.sentence_files import KEY
from tprune.runtimes.layout import MODEL_SETTINGS, Layout
from tprune.support.files import read_json, write_json
from tprune_runtime.token_settings import SETTINGS
from tprune_runtime.tokens import JsonTokens, load_tokens

KEPT = (
    *("label2id", "num_labels", "vocab_size", "max_position_embeddings"),
    *("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"),
    *("max_source_positions", "max_target_positions", "conv_kernel", "conv_stride"),
    KEY,
)


class Described(nn.Module):
    """Stands for an exported model where its data is encoded: it has the configuration, and no weights."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = SimpleNamespace(**config)


SPELLING = ("vocab.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def describe(model: Any, source: str, out: Path, spells: bool = False) -> None:
    """Writes what `described` reads into an exported folder.

    Args:
        model: that was exported.
        source: its folder or hub id, where the settings of image preprocessing may lie.
        out: the exported folder.
        spells: whether the files of its tokeniser are kept as they are, for what the model says.
    """
    config = getattr(model, "config", None)
    said = {key: getattr(config, key, None) for key in KEPT}
    write_json(out / MODEL_SETTINGS, {key: value for key, value in said.items() if value is not None})
    for name in (FILE, *SPELLING * spells):
        if (Path(source) / name).is_file():
            shutil.copyfile(Path(source) / name, out / name)


def described(folder: Path, layout: Layout) -> Described:
    """The model of an exported folder, as far as encoding data asks for it."""
    said: dict[str, Any] = {}
    if (folder / MODEL_SETTINGS).is_file():
        said = read_json(folder / MODEL_SETTINGS)
    elif (checkpoint := _of_run(folder)) is not None:
        said = {key: value for key, value in content(checkpoint / CONFIG).items() if key in KEPT}
    if TOKENS in layout.limits:
        said.setdefault("max_position_embeddings", layout.limits[TOKENS])
    return Described(said)


class ExportedTokenizer:
    """The tokeniser of an exported folder, called as those of transformers are."""

    def __init__(self, folder: Path) -> None:
        self.tokens = load_tokens(folder)

    @property
    def is_fast(self) -> bool:
        """Whether it says which tokens are of which word."""
        return isinstance(self.tokens, JsonTokens)

    def __call__(
        self, text: list[str] | list[list[str]], *, verbose: bool = True, is_split_into_words: bool = False
    ) -> SimpleNamespace:
        """The ids of texts, and of those that are split into words the word of each token."""
        if is_split_into_words:
            assert isinstance(self.tokens, JsonTokens)
            found = self.tokens.encode_words(cast(list[list[str]], text))
            return SimpleNamespace(input_ids=[ids for ids, _ in found], word_ids=lambda index: found[index][1])
        return SimpleNamespace(input_ids=[list(ids) for ids in self.tokens.encode(cast(list[str], text))])

    def decode(self, ids: list[int], *, skip_special_tokens: bool = True) -> str:
        """The text of ids, without special tokens."""
        return self.tokens.decode([ids])[0]


def processor_of(folder: Path, task: Task) -> Any:
    """What encodes inputs for an exported model: its tokeniser, or else what its task finds in the folder."""
    has_tokens = any((folder / name).is_file() for name in ("tokenizer.json", SETTINGS))
    if isinstance(task, Transcribes):
        where = folder if (folder / FILE).is_file() else _of_run(folder) or folder
        return task.exported_processor(where, ExportedTokenizer(folder) if has_tokens else None)
    return ExportedTokenizer(folder) if has_tokens else task.processor(_of_run(folder) or folder)


def _of_run(exported: Path) -> Path | None:
    """The checkpoint that a run exported, by the place of both in its directory; None for any other folder."""
    run = exported.absolute().parent.parent
    checkpoint = run / exported.name
    return checkpoint if (run / "run.json").is_file() and (checkpoint / CONFIG).is_file() else None
