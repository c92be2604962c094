"""What transformers adds to the files of a tokeniser: `tokens.json` of an export."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tprune_runtime.added_tokens import AddedToken
from tprune_runtime.errors import InputError

SETTINGS = "tokens.json"
FORMAT = 1

# what transformers takes for spaces too many in decoded text, in this order
CLEANED = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


@dataclass(frozen=True)
class TokenSettings:
    """All of `tokens.json`.

    `added` and the names of tokens are for SentencePiece alone; a `tokenizer.json` has its own.

    Attributes:
        clean_up: whether spaces before punctuation are taken out of decoded text.
        split_special: whether the text of a special token is split like any other.
        eos: the end token, which every sentence gets.
        unknown: stands for what has no id.
        special: tokens that are left out of decoded text.
        added: tokens that text is split at before the SentencePiece model sees it.
        language: the token before each text, of tokenisers that tell languages so (M2M100).
        unsaid: ids that are left out of decoded text though they are no special tokens: Whisper's time stamps.
    """

    clean_up: bool = False
    split_special: bool = False
    eos: str = "</s>"
    unknown: str = "<unk>"
    special: tuple[str, ...] = ("</s>", "<unk>", "<pad>")
    added: tuple[AddedToken, ...] | None = None  # none: the special tokens
    language: str = ""
    unsaid: tuple[int, ...] = ()

    def write(self, folder: Path) -> None:
        """Writes `tokens.json` into `folder`."""
        found = {"format": FORMAT} | asdict(self)
        for name in ("language", "unsaid"):
            if not found[name]:
                del found[name]
        (folder / SETTINGS).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> TokenSettings:
        """Reads them; an export without the file has none. Raises `InputError` naming the file."""
        path = folder / SETTINGS
        if not path.exists():
            return TokenSettings()
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            if raw.pop("format") != FORMAT:
                raise InputError(f"{path}: another format; expected format {FORMAT}, export the model again")
            added = None if raw["added"] is None else tuple(AddedToken(**token) for token in raw["added"])
            read = {"special": tuple(map(str, raw["special"])), "added": added, "unsaid": tuple(raw.get("unsaid", ()))}
            found = TokenSettings(**raw | read)
            if any(type(number) is not int for number in found.unsaid):
                raise InputError(f"{path}: unsaid lists what is no token id; export the model again")
            if not all(type(flag) is bool for flag in (found.clean_up, found.split_special)):
                raise InputError(f"{path}: clean_up or split_special is neither true nor false; export the model again")
            return found
        except InputError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: cannot be read ({error}); export the model again") from None


def cleaned(text: str, settings: TokenSettings) -> str:
    """The text without spaces too many, where the tokeniser takes them out."""
    for what, instead in CLEANED if settings.clean_up else ():
        text = text.replace(what, instead)
    return text
