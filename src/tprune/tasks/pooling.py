"""One vector for a sentence, of those of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from tprune.support.errors import InputError

MEAN = "mean"


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    return (states * mask).sum(1) / mask.sum(1).clamp_min(1e-9)


def _largest(states: Tensor, mask: Tensor) -> Tensor:
    return states.masked_fill(mask == 0, torch.finfo(states.dtype).min).amax(1)


def _first(states: Tensor, mask: Tensor) -> Tensor:
    return states[:, 0]


def _last(states: Tensor, mask: Tensor) -> Tensor:
    place = mask.sum(1).long().sub(1).clamp_min(0)  # padding lies behind
    return states.gather(1, place[:, :, None].expand(-1, 1, states.shape[-1]))[:, 0]


POOLINGS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    MEAN: _mean,
    "cls": _first,
    "max": _largest,
    "lasttoken": _last,
}
NAMED = {  # by the names that sentence-transformers gives them
    "pooling_mode_mean_tokens": MEAN,
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}


def pooling_mode(settings: Mapping[str, object]) -> str:
    """The one mode of pooling of a file `1_Pooling/config.json`; the mean where there is no file.

    Args:
        settings: the content of the file.

    Raises:
        InputError: another mode, or several at once.

    Example:
        >>> pooling_mode({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}), pooling_mode({})
        ('cls', 'mean')
    """
    said = settings.get("pooling_mode")
    asked = [said] if isinstance(said, str) else [key for key in settings if key.startswith("pooling_mode_")]
    chosen = [str(key) for key in asked if isinstance(said, str) or settings[str(key)] is True]
    known = [NAMED.get(key, key) for key in chosen] or ([] if asked else [MEAN])
    if len(known) != 1 or known[0] not in POOLINGS:
        raise InputError(
            f"pooling by {' and '.join(known) or 'nothing'}; expected one of {', '.join(POOLINGS)} alone (the settings "
            "of sentence-transformers, 1_Pooling/config.json)"
        )
    return known[0]


def pooled(states: Tensor, mask: Tensor, mode: str) -> Tensor:
    """A vector of length 1 for each sentence.

    Args:
        states: (sentences, tokens, width).
        mask: (sentences, tokens), 1 where there is a token; padding lies behind.
        mode: one of `POOLINGS`.

    Example:
        >>> pooled(torch.tensor([[[3.0, 0.0], [0.0, 3.0], [9.0, 9.0]]]), torch.tensor([[1, 1, 0]]), "mean")
        tensor([[0.7071, 0.7071]])
    """
    found = POOLINGS[mode](states, mask[:, :, None].to(states.dtype))
    return torch.nn.functional.normalize(found, dim=-1)
