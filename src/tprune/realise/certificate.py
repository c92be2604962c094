"""The certificate: how far the realised model's logits are from the masked model's, on real inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tprune.core.plan import Plan
from tprune.realise.mask import masked
from tprune.support.errors import CertificateError

LIMITS = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 5e-3}


@dataclass(frozen=True)
class Certificate:
    """`max |masked − realised| / max |masked|` over logits.

    Attributes:
        forward: of one padded, teacher-forced batch.
        generation: of cached, step-by-step decoding of the same batch.
        steps: decoding steps compared.
        sentences: sentences in the batch.
        limit: what was allowed in the model's precision.
    """

    forward: float
    generation: float
    steps: int
    sentences: int
    limit: float

    def to_dict(self) -> dict[str, Any]:
        """As it is written beside the weights."""
        return asdict(self)


@torch.no_grad()
def certify(
    model: nn.Module, plan: Plan, small: nn.Module, batch: Mapping[str, Tensor], steps: int = 20
) -> Certificate:
    """Compares the realised model with the masked one.

    Args:
        model: the dense model the plan was made for.
        plan: after selection.
        small: what became of it.
        batch: `input_ids`, `attention_mask` and `labels` of some real sentences.
        steps: decoding steps with a cache.

    Raises:
        CertificateError: the difference is larger than the precision explains; says where it begins.
    """
    reference, small = masked(model, plan).eval(), small.eval()
    limit = LIMITS[next(model.parameters()).dtype]
    forced = dict(batch)
    expected, got = reference(**forced).logits, small(**forced).logits
    forward = _relative(expected, got)
    if not forward <= limit:
        where = _first_difference(reference, small, forced, limit)
        raise CertificateError(
            f"the realised model is {forward:.2g} off the masked one (at most {limit:g} allowed), {where}"
        )
    config: Any = model.config
    worst, length = 0.0, min(steps, int(config.max_position_embeddings) - 1)
    for step, (a, b) in enumerate(_decode(reference, small, batch, length)):
        off = _relative(a, b)
        if not off <= limit:
            raise CertificateError(
                f"the realised model is {off:.2g} off the masked one (at most {limit:g} allowed) at step {step + 1} of "
                "cached generation, while the whole forward pass agrees: cache or positions"
            )
        worst = max(worst, off)
    return Certificate(forward, worst, length, len(batch["input_ids"]), limit)


def _relative(expected: Tensor, got: Tensor) -> float:
    if not bool(torch.isfinite(got).all()):
        return float("inf")
    return float((expected - got).abs().max() / expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny))


def _decode(reference: nn.Module, small: nn.Module, batch: Mapping[str, Tensor], steps: int) -> Any:
    """Greedy decoding by the reference; both models step through the same tokens, each with its own cache."""
    source = {k: batch[k] for k in ("input_ids", "attention_mask")}
    config: Any = reference.config
    token = torch.full(
        (len(source["input_ids"]), 1), int(config.decoder_start_token_id), device=source["input_ids"].device
    )
    models: list[Any] = [reference, small]
    encoded = [m.get_encoder()(**source) for m in models]
    caches: list[Any] = [None, None]
    for _ in range(steps):
        logits = []
        for i, m in enumerate(models):
            out = m(
                encoder_outputs=encoded[i], attention_mask=source["attention_mask"], decoder_input_ids=token,
                past_key_values=caches[i], use_cache=True,
            )  # fmt: skip
            caches[i] = out.past_key_values
            logits.append(out.logits[:, -1])
        yield logits[0], logits[1]
        token = logits[0].argmax(-1, keepdim=True)


def _first_difference(reference: nn.Module, small: nn.Module, batch: Mapping[str, Tensor], limit: float) -> str:
    """The first layer whose output differs."""
    outputs = [m(**batch, output_hidden_states=True) for m in (reference, small)]
    for side in ("encoder", "decoder"):
        pairs = zip(*(getattr(o, f"{side}_hidden_states") for o in outputs), strict=True)
        for layer, (a, b) in enumerate(pairs):
            if a.shape == b.shape and not _relative(a, b) <= limit:
                return f"from {side} layer {layer - 1} on" if layer else f"from the {side}'s embeddings on"
    return "in the output projection, or with a changed width"
