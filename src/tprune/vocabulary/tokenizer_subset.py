"""A tokeniser with fewer tokens: which tokens have to stay together, and the tokeniser that is left."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

from tokenizers import Tokenizer
from transformers import MarianTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tprune.support.errors import InputError


class Vocabulary(Protocol):
    """A tokeniser's tokens, as far as leaving some out needs to know them."""

    @property
    def base(self) -> frozenset[int]:
        """Ids that always stay: special and added tokens, and those that any text may need."""

    @property
    def unknown(self) -> frozenset[int]:
        """Ids that stand for text without a token of its own."""

    def needed(self, ids: Iterable[int]) -> frozenset[int]:
        """The given ids and those without which they cannot be made."""

    def keep(self, kept: Sequence[int]) -> PreTrainedTokenizerBase:
        """A new tokeniser of the old ids `kept`, which become 0, 1, 2, ..."""


def vocabulary_of(tokenizer: Any) -> Vocabulary:
    """The tokens of a byte-pair encoding of the tokenizers library, or of an OPUS-MT model.

    Raises:
        InputError: any other tokeniser, one that merges at random or marks the parts of words, or one with a vocabulary
            for each side; the message names its class.
    """
    name = type(tokenizer).__name__
    if isinstance(tokenizer, MarianTokenizer):
        if tokenizer.separate_vocabs:
            raise InputError(f"{name} has separate vocabularies for source and target; expected a joint one")
        return Pieces(tokenizer)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(tokenizer, PreTrainedTokenizerFast) or not isinstance(backend, Tokenizer):
        raise InputError(
            f"cannot trim a {name}; expected a byte-pair tokenizer.json or a MarianTokenizer, or no --trim-vocab"
        )
    state = json.loads(backend.to_str())
    kind = state["model"]["type"]
    if kind != "BPE":
        raise InputError(f"cannot trim a {name} of type {kind}; expected byte-pair encoding (BPE), or no --trim-vocab")
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if state["model"].get(option):
            raise InputError(f"cannot trim a {name} with {option} {state['model'][option]!r}; expected none")
    return BytePairs(tokenizer, state)


@dataclass(frozen=True)
class BytePairs:
    """Byte-pair encoding. Every token that no merge makes stays, so text is lost nowhere where it was not lost before.

    Merging takes the earliest rule that applies. Once all rules that built a token are kept, leaving out others changes
    nothing: at each step the rule that was earliest is there, and no new one is.

    References:
        Sennrich et al., Neural machine translation of rare words with subword units, ACL 2016.
    """

    tokenizer: PreTrainedTokenizerFast
    state: Mapping[str, Any]

    @cached_property
    def base(self) -> frozenset[int]:
        """See `Vocabulary`."""
        made = {left + right for left, right in self.state["model"]["merges"]}
        unmade = {index for token, index in self._ids.items() if token not in made}
        return frozenset(unmade | {token["id"] for token in self.state["added_tokens"]})

    @cached_property
    def unknown(self) -> frozenset[int]:
        """See `Vocabulary`; where unknown characters become bytes, these."""
        model, ids = self.state["model"], self._ids
        found = {ids[model["unk_token"]]} if model["unk_token"] in ids else set()
        if model["byte_fallback"]:
            found |= {ids[byte] for byte in map("<0x{:02X}>".format, range(256)) if byte in ids}
        return frozenset(found)

    def needed(self, ids: Iterable[int]) -> frozenset[int]:
        """See `Vocabulary`."""
        tokens = {index: token for token, index in self._ids.items()}
        found = set(ids)
        for token in [tokens[index] for index in found if index in tokens]:
            found |= {self._ids[part] for part in steps(token, self._ranks)}
        return frozenset(found)

    def keep(self, kept: Sequence[int]) -> PreTrainedTokenizerFast:
        """See `Vocabulary`."""
        new = {old: index for index, old in enumerate(kept)}
        state: dict[str, Any] = copy.deepcopy(dict(self.state))
        left = {token: new[old] for token, old in self._ids.items() if old in new}
        merges = [[a, b] for a, b in state["model"]["merges"] if a in left and b in left and a + b in left]
        state["model"] |= {"vocab": left, "merges": merges}
        for token in state["added_tokens"]:
            token["id"] = new[token["id"]]
        if state["padding"]:
            state["padding"]["pad_id"] = new[state["padding"]["pad_id"]]
        _renumber_(state["post_processor"], new)
        small = copy.deepcopy(self.tokenizer)
        small._tokenizer = Tokenizer.from_str(json.dumps(state))
        return small

    @cached_property
    def _ids(self) -> dict[str, int]:
        return dict(self.state["model"]["vocab"])

    @cached_property
    def _ranks(self) -> dict[tuple[str, str], int]:
        return {(left, right): rank for rank, (left, right) in enumerate(self.state["model"]["merges"])}


@dataclass(frozen=True)
class Pieces:
    """SentencePiece pieces looked up in `vocab.json`: text is cut as before, and what has no id is unknown.

    Language codes such as `>>deu<<` stay.
    """

    tokenizer: MarianTokenizer

    @cached_property
    def base(self) -> frozenset[int]:
        """See `Vocabulary`."""
        ids, codes = self.tokenizer.get_vocab(), self.tokenizer.supported_language_codes
        return frozenset({*self.tokenizer.all_special_ids, *self._added.values(), *(ids[code] for code in codes)})

    @cached_property
    def unknown(self) -> frozenset[int]:
        """See `Vocabulary`."""
        return frozenset({int(self.tokenizer.unk_token_id)})

    def needed(self, ids: Iterable[int]) -> frozenset[int]:
        """See `Vocabulary`."""
        return frozenset(ids)

    def keep(self, kept: Sequence[int]) -> MarianTokenizer:
        """See `Vocabulary`."""
        new = {old: index for index, old in enumerate(kept)}
        small = copy.deepcopy(self.tokenizer)
        small.encoder = {piece: new[old] for piece, old in self.tokenizer.encoder.items() if old in new}
        small.decoder = {index: piece for piece, index in small.encoder.items()}
        small.current_encoder = small.encoder
        small._added_tokens_decoder = {new[old]: t for old, t in self.tokenizer.added_tokens_decoder.items()}
        small._added_tokens_encoder = {token: new[old] for token, old in self._added.items()}
        small._update_total_vocab_size()
        return small

    @property
    def _added(self) -> dict[str, int]:
        return dict(self.tokenizer.added_tokens_encoder)


def steps(token: str, ranks: Mapping[tuple[str, str], int]) -> set[str]:
    """All that byte-pair merging makes of a token's characters on its way to the token.

    Example:
        >>> sorted(steps("cats", {("a", "t"): 0, ("c", "at"): 1, ("t", "s"): 2, ("cat", "s"): 3}))
        ['at', 'cat', 'cats']
    """
    parts = list(token)
    made: set[str] = set()
    while True:
        pairs = [(ranks[pair], i) for i, pair in enumerate(pairwise(parts)) if pair in ranks]
        if not pairs:
            return made
        _, first = min(pairs)
        parts[first : first + 2] = [parts[first] + parts[first + 1]]
        made.add(parts[first])


def _renumber_(processor: Any, new: Mapping[int, int]) -> None:
    """The ids inside a post-processor: of a template, of RoBERTa's or BERT's pair, or of several in a row."""
    if not processor:
        return
    for inner in processor.get("processors", ()):
        _renumber_(inner, new)
    for special in dict(processor.get("special_tokens") or {}).values():
        special["ids"] = [new[old] for old in special["ids"]]
    for name in ("sep", "cls"):
        if name in processor:
            token, old = processor[name]
            processor[name] = [token, new[old]]
