"""Exports a (pruned) translation model to a folder that a runtime executes, and checks it first."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import BartForConditionalGeneration, MarianMTModel, PreTrainedTokenizerBase

from tprune.belonging import check_tokenizer
from tprune.errors import InputError
from tprune.files import replacing
from tprune.runtimes.export_tokens import same_tokens, write_tokens
from tprune.runtimes.folder import LAYOUT, Generation, Layout, Stamp, read_layout
from tprune.runtimes.onnx_graphs import cross_layers
from tprune.runtimes.onnx_runtime import ONNXRUNTIME
from tprune.runtimes.runtime import Runtime, blamed
from tprune.runtimes.tokens import SENTENCEPIECE, SETTINGS, load_tokens
from tprune.runtimes.translate import Translator
from tprune.runtimes.verify import verify
from tprune.size import size
from tprune.texts import check_list

WRITTEN = {"encoder.onnx", "decoder.onnx", LAYOUT, "tokenizer.json", *SENTENCEPIECE, "target_vocab.json", SETTINGS}

# what `generate` would do beyond the searches of `search`, and the values that switch it off
SWITCHED_OFF: Mapping[str, tuple[object, ...]] = {
    "do_sample": (None, False), "num_beam_groups": (None, 1), "num_return_sequences": (None, 1), "constraints": (None,),
    "repetition_penalty": (None, 1.0), "encoder_repetition_penalty": (None, 1.0), "no_repeat_ngram_size": (None, 0),
    "encoder_no_repeat_ngram_size": (None, 0), "begin_suppress_tokens": (None, []),
    "sequence_bias": (None,), "guidance_scale": (None, 1.0), "exponential_decay_length_penalty": (None,),
    "penalty_alpha": (None, 0.0), "force_words_ids": (None,), "stop_strings": (None,), "max_time": (None,),
}  # fmt: skip


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote and how well it agrees with PyTorch.

    `max_relative_error` is the largest |logit difference| / largest |logit|; the counts are sentences: equal token for
    token, or parting at a tie of (nearly) equal scores. `files` gives bytes, `seconds` the whole export with its check.
    """

    max_relative_error: float
    sentences: int
    greedy_equal: int
    greedy_ties: int
    beam_equal: int
    beam_ties: int
    files: Mapping[str, int]
    seconds: float


def export(
    model: Any, tokenizer: PreTrainedTokenizerBase, out: str | Path, sentences: Sequence[str], runtime: Runtime = ONNXRUNTIME
) -> ExportReport:  # fmt: skip
    """Writes what the runtime executes, the tokeniser and `generation.json` into `out` (float32) and checks them.

    Args:
        model: a MarianMTModel or BartForConditionalGeneration, or a pruned subclass of one; it is left as it was.
        tokenizer: the model's own.
        out: the folder; an older export there is replaced, but only after the new one passed its check.
        sentences: source sentences for the check; more of them check more.
        runtime: what it is for; onnxruntime's files are `encoder.onnx` and `decoder.onnx`.

    Raises:
        InputError: another kind of model, settings of `generate` that have no counterpart here, no sentences or one
            that is too long, or `out` holds something that is not an export.
        CertificateError: the graphs do not compute what the model computes, naming sentence and step, or the exported tokeniser
            is another than the model's, naming the text.

    Example:
        ```python
        export(model, tokenizer, Path("small"), ["Two dogs play in the snow."]).greedy_equal  # 1
        ```
    """
    started, out = time.perf_counter(), Path(out)
    _check(model, sentences)
    check_tokenizer(tokenizer, model.config, type(model).__name__)
    generation = generation_of(model)
    rows = rows_of(model, generation)
    if rows:
        known = set(rows)
        words = tuple(word for word in generation.bad_words_ids if known.issuperset(word))
        generation = replace(generation, bad_words_ids=words)
    _ours(out)
    with replacing(out) as folder, _evaluated(model) as plain, blamed(runtime):
        write_tokens(tokenizer, folder)
        same_tokens(tokenizer, load_tokens(folder), sentences)
        cross, past = runtime.write(plain, folder, rows)
        stamps = {path.name: Stamp.of(path) for path in sorted(folder.iterdir())}
        vocabulary, positions = int(plain.final_logits_bias.shape[-1]), _positions(plain.model.encoder)
        counted = size(plain)
        macs = counted.macs - _spared(plain, rows)
        parameters, name = counted.parameters, runtime.name
        layout = Layout(generation, cross, past, vocabulary, positions, parameters, macs, stamps, rows, name)
        layout.write(folder)
        translator = Translator.load(folder)
        parity = verify(plain, translator, sentences)
        files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    return ExportReport(
        parity.max_relative_error, len(sentences), parity.greedy_equal, parity.greedy_ties,
        parity.beam_equal, parity.beam_ties, files, time.perf_counter() - started,
    )  # fmt: skip


def generation_of(model: Any) -> Generation:
    """The decoding settings `model.generate` would use, with transformers' defaults filled in.

    `max_length` is cut to what the decoder has positions for (transformers would fail there).

    Raises:
        InputError: a setting without counterpart here is switched on, or start or end token are not set.
    """
    g, name = model.generation_config, type(model).__name__
    for key, neutral in SWITCHED_OFF.items():
        value = getattr(g, key, None)
        if value not in neutral:
            raise InputError(f"{name}: generation_config.{key} is {value!r}; the export can only do {neutral[-1]!r}")
    start = g.bos_token_id if g.decoder_start_token_id is None else g.decoder_start_token_id
    eos = _tuple(g.eos_token_id)
    if start is None or not eos:
        missing = "eos_token_id" if not eos else "decoder_start_token_id"
        raise InputError(f"{name}: generation_config.{missing} is not set; decoding needs a start and an end token")
    positions = _positions(model.model.decoder)
    if g.max_new_tokens is not None:
        longest = g.max_new_tokens + 1
    else:
        longest = 21 if g.max_length is None else g.max_length
    return Generation(
        decoder_start_token_id=int(start), eos_token_id=eos,
        pad_token_id=int(eos[0] if g.pad_token_id is None else g.pad_token_id),
        max_length=min(int(longest), positions + 1), num_beams=int(_or(g.num_beams, 1)),
        bad_words_ids=_forbidden(g, eos),
        min_length=int(_or(g.min_length, 0) if g.min_new_tokens is None else g.min_new_tokens + 1),
        length_penalty=float(_or(g.length_penalty, 1.0)), early_stopping=_or(g.early_stopping, False),
        forced_bos_token_id=g.forced_bos_token_id, forced_eos_token_id=_tuple(g.forced_eos_token_id),
        renormalize_logits=bool(g.renormalize_logits),
    )  # fmt: skip


def rows_of(model: Any, generation: Generation) -> tuple[int, ...]:
    """The tokens that the decoder has to know: all but those of `suppress_tokens`, or none for all.

    Without `renormalize_logits` the tokens that are never written still take part in `generate`'s probabilities; then all stay.
    """
    never = (
        {int(token) for token in model.generation_config.suppress_tokens or ()}
        if generation.renormalize_logits
        else set()
    )
    g = generation
    fed = {g.decoder_start_token_id, g.pad_token_id, *g.eos_token_id, *g.forced_eos_token_id, g.forced_bos_token_id}
    gone = never - fed
    return tuple(token for token in range(model.final_logits_bias.shape[-1]) if token not in gone) if gone else ()


def _forbidden(g: Any, eos: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Words that are never written: `bad_words_ids`, of which transformers leaves out the end token, and `suppress_tokens`."""
    words = [tuple(word) for word in g.bad_words_ids or () if tuple(word) not in {(end,) for end in eos}]
    return tuple(dict.fromkeys([*words, *((int(token),) for token in g.suppress_tokens or ())]))


def _spared(model: Any, rows: Sequence[int]) -> int:
    """Multiply-accumulates of the output rows that are gone, for as many target tokens as `size` counts."""
    tokens, width = model.lm_head.weight.shape
    return min(25, int(model.config.max_position_embeddings)) * int(width) * (int(tokens) - len(rows)) if rows else 0


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _tuple(ids: int | Sequence[int] | None) -> tuple[int, ...]:
    if ids is None:
        return ()
    return (ids,) if isinstance(ids, int) else tuple(ids)


def _positions(stack: Any) -> int:
    return int(stack.embed_positions.weight.shape[0]) - int(getattr(stack.embed_positions, "offset", 0))


def _check(model: Any, sentences: Sequence[str]) -> None:
    name = type(model).__name__
    if not isinstance(model, MarianMTModel | BartForConditionalGeneration):
        raise InputError(f"cannot export a {name}; expected a (pruned) MarianMTModel or BartForConditionalGeneration")
    check_list(sentences, "sentences to check the export on")
    if not sentences:
        raise InputError(f"sentences to check the export on: {sentences!r}; expected a list of at least one")
    if not cross_layers(model):
        raise InputError(f"cannot export this {name}: every cross attention is removed, so it does not read its source")


@contextmanager
def _evaluated(model: Any) -> Iterator[Any]:
    """The model in evaluation mode, float32, on the CPU: itself where it is so already, else a copy."""
    if {(p.dtype, p.device.type) for p in model.parameters()} != {(torch.float32, "cpu")}:
        yield copy.deepcopy(model).to("cpu", torch.float32).eval()
        return
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, training in modes:
            module.training = training


def _ours(out: Path) -> None:
    """Raises `InputError` where `out` holds anything that no export wrote."""
    if out.exists():
        known = set(WRITTEN)
        with suppress(InputError):  # a damaged one is still made of files of these names
            known |= set(read_layout(out).files)
        strange = sorted(x.name for x in out.iterdir() if x.name not in known) if out.is_dir() else [out.name]
        if strange:
            raise InputError(
                f"{out}: holds {strange[0]}, which no export wrote; expected a new folder or an older export"
            )
