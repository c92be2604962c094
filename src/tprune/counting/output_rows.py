"""Rows of the output layer that an export leaves out of the decoder: those of tokens that are never written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def written_rows(model: Any) -> tuple[int, ...]:
    """The tokens that the decoder has to know: all but those of `suppress_tokens`; empty where it has to know all.

    Without `renormalize_logits` the tokens that are never written still take part in `generate`'s probabilities, and so
    they do in what a repetition penalty multiplies; then all stay. Tokens that the search itself feeds to the decoder
    stay, too.

    Example:
        >>> from tprune.tasks.translation.encoding import MarianSize, new_model
        >>> model = new_model(MarianSize(16, (1, 1), 2, 32, 6, 0.0, 32), 6)
        >>> _ = model.generation_config.update(suppress_tokens=[3, 5], renormalize_logits=True)
        >>> written_rows(model)
        (0, 1, 2, 4)
    """
    g, bias = getattr(model, "generation_config", None), getattr(model, "final_logits_bias", None)
    if g is None or bias is None or not g.renormalize_logits or g.repetition_penalty not in (None, 1):
        return ()
    ends = _ids(g.eos_token_id)
    start = g.bos_token_id if g.decoder_start_token_id is None else g.decoder_start_token_id
    pad = ends[:1] if g.pad_token_id is None else (g.pad_token_id,)
    fed = {start, *pad, *ends, *_ids(g.forced_eos_token_id), g.forced_bos_token_id}
    gone = {int(token) for token in g.suppress_tokens or ()} - fed
    return tuple(token for token in range(bias.shape[-1]) if token not in gone) if gone else ()


def rows_left_out(model: Any) -> int:
    """How many rows of the output layer an export leaves out."""
    kept = written_rows(model)
    return int(model.final_logits_bias.shape[-1]) - len(kept) if kept else 0


def spared_parameters(model: Any) -> int:
    """Learned numbers in the rows that an export leaves out; none where the encoder reads the same matrix."""
    rows = rows_left_out(model)
    if not rows:
        return 0
    read = model.get_encoder().get_input_embeddings().weight
    only_written = {
        id(weight): weight
        for weight in (model.get_output_embeddings().weight, model.get_decoder().get_input_embeddings().weight)
        if weight is not read and weight.requires_grad
    }
    return rows * sum(int(weight.shape[-1]) for weight in only_written.values())


def spared_products(model: Any, tokens: int) -> int:
    """Multiply-accumulates of the rows that an export leaves out, for so many target tokens."""
    rows = rows_left_out(model)
    return tokens * int(model.get_output_embeddings().weight.shape[-1]) * rows if rows else 0


def _ids(ids: int | Sequence[int] | None) -> tuple[int, ...]:
    if ids is None:
        return ()
    return (ids,) if isinstance(ids, int) else tuple(ids)
