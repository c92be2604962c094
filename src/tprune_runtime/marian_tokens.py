"""The tokeniser of an OPUS-MT model: a SentencePiece model a side, pieces looked up in `vocab.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tprune_runtime.added_tokens import AddedToken
from tprune_runtime.piece_tokens import (
    SOURCE,
    TARGET,
    TARGET_VOCABULARY,
    VOCABULARY,
    Ids,
    Open,
    PieceFiles,
    PieceTokens,
)


class SentencePieceTokens(PieceTokens):
    """What transformers' MarianTokenizer does; a leading language code such as `>>deu<<` is one token."""

    after_special: ClassVar[str] = " "

    def _read(self, opened: Open, ids_of: Ids, two: bool) -> PieceFiles:
        source, target, ids, said = opened(SOURCE), opened(TARGET), ids_of(VOCABULARY), self._settings
        written = ids_of(TARGET_VOCABULARY) if two else ids
        names = [name for name in said.special if name in ids] if said.added is None else []
        added = said.added or tuple(AddedToken(name, ids[name]) for name in names)
        return PieceFiles(
            splitting=source,
            joining=target if two else source,
            ids=ids | {one.content: one.id for one in added},
            pieces={index: piece for piece, index in written.items()} | {one.id: one.content for one in added},
            added=added,
        )

    def _pieces_of(self, text: str) -> list[str]:
        code: list[str] = []
        if text.startswith(">>") and (end := text.find("<<")) != -1:
            code, text = [text[: end + 2]], text[end + 2 :]
        return code + super()._pieces_of(text)

    def _piece(self, index: int) -> str:
        if (piece := self._files.pieces.get(index)) is not None:
            return piece
        joining = self._files.joining
        return str(joining.id_to_piece(index)) if 0 <= index < len(joining) else self._settings.unknown

    def _joined(self, pieces: Sequence[str]) -> str:
        return super()._joined(pieces).replace("▁", " ").strip()
