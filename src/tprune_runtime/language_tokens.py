"""The tokeniser of an M2M100: one SentencePiece model, pieces looked up in `vocab.json`, and a language before them."""

from __future__ import annotations

from tprune_runtime.piece_tokens import SOURCE, VOCABULARY, Ids, Open, PieceFiles, PieceTokens


class LanguageTokens(PieceTokens):
    """What transformers' M2M100Tokenizer does, as it reads the source; its `language` is before each text."""

    def _read(self, opened: Open, ids_of: Ids, two: bool) -> PieceFiles:
        model, ids, added = opened(SOURCE), ids_of(VOCABULARY), self._settings.added or ()
        return PieceFiles(
            splitting=model,
            joining=model,
            ids=ids | {one.content: one.id for one in added},
            pieces={index: piece for piece, index in ids.items()} | {one.id: one.content for one in added},
            added=added,
            # of a language that was added once more, the tokeniser begins with the id that it had before
            prefix=(ids[self._settings.language],),
        )
