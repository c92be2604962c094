"""The tokeniser's part of an export.

It has the tokeniser's files, and the proof that they split and join text as the tokeniser itself does.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tprune.support.errors import CertificateError, InputError
from tprune_runtime.added_tokens import AddedToken, tangled
from tprune_runtime.piece_tokens import SOURCE, VOCABULARY
from tprune_runtime.token_settings import TokenSettings
from tprune_runtime.tokens import Tokens, load_tokens

WORDS = ("a dog", "Haus", "犬", "don't", "3.5 %")
# around a token (or two), beside words: in the middle, at the ends, doubled, beside punctuation and spaces
FRAMES = (
    "{t}",
    "{w} {t} {w}",
    "{w}{t}{w}",
    "{t} {w}",
    "{t}{w}",
    "{w} {t}",
    "{w}{t}",
    "{t}{t}",
    "{t} {t} {w}",
    "{w} {t}, {w}.",
    '({t}) "{t}"!',
    "  {t}  {w}  {t}  ",
    "{w}\t{t}\u00a0{w}",
    "{w} {t}{u} {w}",
    "{u}{w}{t}",
)
MANY = 200  # tokens; of more, each is tried in the longest frames alone
ODD = (
    *"abzÄéß09.,;:!?'\"()[]{}<>/\\|@#%&*_-+=~`^$€",
    " ",
    "  ",
    "\t",
    "\u00a0",
    "\u3000",
    "\u200b",
    "\u200d",
    "\ufeff",
    "\u2581",
    "\u0301",
    "Å",
    "ﬁ",
    "½",
    "…",
    "“",
    "”",
    "—",
    "日本",
    "한국",
    "ไทย",
    "العربية",
    "עברית",
    "हिन्दी",
    "😀",
    "👩‍👩‍👧",
    "\x07",
    "\x7f",
    "\u202e",
    "\U0001f1e9\U0001f1ea",
    "<<",
    ">>",
    ">>deu<<",
    ">>x",
    "<0x41>",
    "##",
    "</w>",
    "@@",
    "n't",
    " 's",
    " .",
    "Straße",
    "the",
    "ing",
    "qu",
)
RANDOM = 60


def write_tokens(tokenizer: Any, folder: Path) -> None:
    """Writes the files of a tokeniser.

    Raises:
        InputError: a kind of tokeniser without counterpart here.
    """
    kind = type(tokenizer).__name__
    split = bool(getattr(tokenizer, "split_special_tokens", False))
    clean = bool(getattr(tokenizer, "clean_up_tokenization_spaces", False))
    if hasattr(tokenizer, "spm_files"):
        settings = _of_pieces(tokenizer, TokenSettings(clean, split))
        tokenizer.save_vocabulary(str(folder))
        settings.write(folder)
    elif hasattr(tokenizer, "lang_code_to_token"):
        _write_languages(tokenizer, folder, TokenSettings(clean, split))
    elif (backend := getattr(tokenizer, "backend_tokenizer", None)) is not None:
        backend.save(str(folder / "tokenizer.json"))
        # transformers leaves the spaces of byte-pair encodings alone unless it is told twice
        told_twice = getattr(
            tokenizer, "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", False
        )
        clean = clean and (type(backend.model).__name__ != "BPE" or bool(told_twice))
        if (settings := TokenSettings(clean, split, unsaid=_stamps(tokenizer))) != TokenSettings():
            settings.write(folder)
    else:
        raise InputError(
            f"cannot export a {kind}; expected a tokenizer.json, or a SentencePiece MarianTokenizer or M2M100Tokenizer"
        )


def _stamps(tokenizer: Any) -> tuple[int, ...]:
    """The tokens of time stamps, of a tokeniser that leaves them out of decoded text."""
    pattern = getattr(tokenizer, "timestamp_pat", None)
    if pattern is None:
        return ()
    return tuple(index for index, token in tokenizer.added_tokens_decoder.items() if pattern.fullmatch(token.content))


def _of_pieces(tokenizer: Any, settings: TokenSettings) -> TokenSettings:
    """The settings with the tokens beside a SentencePiece model. Raises `InputError` as `write_tokens`."""
    kind = type(tokenizer).__name__
    if (getattr(tokenizer, "sp_model_kwargs", None) or {}).get("enable_sampling"):
        raise InputError(f"cannot export a {kind} that splits text at random (sp_model_kwargs enable_sampling)")
    added = [
        AddedToken(token.content, index, token.lstrip, token.rstrip, token.single_word)
        for index, token in tokenizer.added_tokens_decoder.items()
    ]
    if pair := tangled([token.content for token in added]):
        raise InputError(
            f"cannot export this {kind}: the added token {pair[0]!r} lies inside {pair[1]!r}; rename one of them"
        )
    return replace(
        settings,
        eos=str(tokenizer.eos_token),
        unknown=str(tokenizer.unk_token),
        special=tuple(tokenizer.all_special_tokens),
        added=tuple(added),
    )


def _write_languages(tokenizer: Any, folder: Path, settings: TokenSettings) -> None:
    """The files of a tokeniser that has one SentencePiece model, and a token of the source language before texts."""
    found = replace(_of_pieces(tokenizer, settings), language=tokenizer.get_lang_token(tokenizer.src_lang))
    ids = tokenizer.encoder | tokenizer.lang_token_to_id
    (folder / VOCABULARY).write_text(json.dumps(ids, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / SOURCE).write_bytes(tokenizer.sp_model.serialized_model_proto())
    found.write(folder)


def check_tokens(tokenizer: Any, sentences: Sequence[str] = ()) -> None:
    """Whether a tokeniser can be exported as it is.

    Raises:
        InputError: see `write_tokens`.
        CertificateError: see `same_tokens`.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_tokens(tokenizer, Path(folder))
        same_tokens(tokenizer, load_tokens(Path(folder)), sentences)


def same_tokens(tokenizer: Any, exported: Tokens, sentences: Sequence[str] = ()) -> None:
    """Whether an exported tokeniser makes the same ids of text and the same text of ids, on sentences and on odd text.

    Raises:
        CertificateError: it does not, with the text on which they differ.
    """
    kind, texts = type(tokenizer).__name__, (*sentences, *probes(tokenizer))
    wanted = [list(row) for row in tokenizer(list(texts), verbose=False).input_ids]
    for text, want, have in zip(texts, wanted, exported.encode(texts), strict=True):
        if want != have:
            raise CertificateError(f"the exported tokeniser is not the {kind}: of {text!r} it makes {have}, not {want}")
    rows = [*wanted, *_random_rows(tokenizer)]
    for row, have_text in zip(rows, exported.decode(rows), strict=True):
        want_text = tokenizer.decode(row, skip_special_tokens=True)
        if want_text != have_text:
            raise CertificateError(
                f"the exported tokeniser is not the {kind}: of the ids {row} it makes {have_text!r}, not {want_text!r}"
            )


def probes(tokenizer: Any) -> list[str]:
    """Texts with every added, special and language token in many places, and random ones of odd characters."""
    whole = _whole_tokens(tokenizer)
    frames = FRAMES if len(whole) <= MANY else FRAMES[-4:]
    pairs = list(zip_longest(whole, whole[1:], fillvalue=next(iter(whole), "")))
    found = [
        frame.format(t=token, u=other, w=WORDS[(index + number) % len(WORDS)])
        for number, (token, other) in enumerate(pairs)
        for index, frame in enumerate(frames)
    ]
    chosen = random.Random(0)
    known = (*ODD, *whole[:MANY])
    return [*found, "", " ", *("".join(chosen.choices(known, k=chosen.randint(1, 25))) for _ in range(RANDOM))]


def _whole_tokens(tokenizer: Any) -> list[str]:
    codes: Iterable[str] = getattr(tokenizer, "supported_language_codes", None) or ()
    languages: Iterable[str] = (getattr(tokenizer, "lang_code_to_token", None) or {}).values()
    added = (token.content for token in tokenizer.added_tokens_decoder.values())
    return [token for token in dict.fromkeys([*added, *tokenizer.all_special_tokens, *codes, *languages]) if token]


def _random_rows(tokenizer: Any) -> list[list[int]]:
    apart = getattr(tokenizer, "separate_vocabs", False)
    ids = sorted((tokenizer.target_encoder if apart else tokenizer.get_vocab()).values())
    chosen = random.Random(0)
    return [chosen.choices(ids, k=chosen.randint(1, 25)) for _ in range(RANDOM)]
