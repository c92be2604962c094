"""Exports a (pruned) translation model to a folder that a runtime executes, and checks it first."""

from __future__ import annotations

import copy
import reprlib
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import BartForConditionalGeneration, MarianMTModel, PreTrainedTokenizerBase

from tprune.counting.output_rows import written_rows
from tprune.counting.size import size
from tprune.families.graphs.encoder_decoder import cross_layers
from tprune.realise.belonging import check_tokenizer
from tprune.runtimes.artefact import LAYOUT, Layout, read_layout
from tprune.runtimes.export_tokens import check_tokens, same_tokens, write_tokens
from tprune.runtimes.generation import Generation, fault
from tprune.runtimes.onnxruntime.engine import ONNXRUNTIME
from tprune.runtimes.runtime import Checking, Runtime, blamed
from tprune.runtimes.tokens import SENTENCEPIECE, SETTINGS, load_tokens
from tprune.runtimes.translator import Translator
from tprune.runtimes.verify import verify
from tprune.support.errors import InputError, TpruneWarning
from tprune.support.files import atomic_directory
from tprune.support.manifest import Manifest
from tprune.support.texts import check_list

WRITTEN = {"encoder.onnx", "decoder.onnx", LAYOUT, "tokenizer.json", *SENTENCEPIECE, "target_vocab.json", SETTINGS}

# what `generate` would do beyond the searches of `search`, and the values that switch it off
SWITCHED_OFF: Mapping[str, tuple[object, ...]] = {
    "do_sample": (None, False), "num_beam_groups": (None, 1), "num_return_sequences": (None, 1), "constraints": (None,),
    "encoder_repetition_penalty": (None, 1.0), "encoder_no_repeat_ngram_size": (None, 0), "begin_suppress_tokens": (None, []),
    "sequence_bias": (None,), "guidance_scale": (None, 1.0), "exponential_decay_length_penalty": (None,),
    "diversity_penalty": (None, 0.0), "penalty_alpha": (None, 0.0), "dola_layers": (None,), "force_words_ids": (None,),
    "watermarking_config": (None,), "prompt_lookup_num_tokens": (None,), "token_healing": (None, False), "use_mtp": (None, False),
    "stop_strings": (None,), "max_time": (None,),
}  # fmt: skip
ENOUGH = 12  # sentences for the check of an export where nobody gives any for that alone
UNSAID = 20  # tokens after which `generate` ends every output where no configuration says how many there may be


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
    rows = written_rows(model)
    if rows:
        known = set(rows)
        words = tuple(word for word in generation.bad_words_ids if known.issuperset(word))
        generation = replace(generation, bad_words_ids=words)
    _ours(out)
    with atomic_directory(out) as folder, _evaluated(model) as plain, blamed(runtime):
        write_tokens(tokenizer, folder)
        same_tokens(tokenizer, load_tokens(folder), sentences)
        cross, past = runtime.write(plain, folder, rows)
        manifest = Manifest.of(folder)
        vocabulary, positions = int(plain.final_logits_bias.shape[-1]), _positions(plain.model.encoder)
        counted, name = size(plain), runtime.name
        sizes = counted.parameters, counted.macs
        layout = Layout(generation, cross, past, vocabulary, positions, *sizes, manifest, rows, name)
        layout.write(folder)
        translator = Translator.load(folder)
        parity = verify(plain, translator, sentences)
        files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    return ExportReport(
        parity.max_relative_error, len(sentences), parity.greedy_equal, parity.greedy_ties,
        parity.beam_equal, parity.beam_ties, files, time.perf_counter() - started,
    )  # fmt: skip


def check_exportable(
    model: Any, tokenizer: PreTrainedTokenizerBase, sentences: Sequence[str], runtime: Runtime = ONNXRUNTIME
) -> None:
    """Whether `export` can do this, asked in a moment before hours of work; all but the check of what the graphs compute.

    Args:
        model: what would be exported, or what it will be made from.
        tokenizer: its own.
        sentences: source sentences on which both tokenisers are compared.
        runtime: what it would be for.

    Raises:
        InputError: another kind of model, settings of `generate` without counterpart, a tokeniser that cannot be exported,
            or a model that the runtime cannot run.
        CertificateError: the tokeniser's exported form gives other tokens.
    """
    _check(model, sentences)
    check_tokenizer(tokenizer, model.config, type(model).__name__)
    generation_of(model)
    if isinstance(runtime, Checking):
        with blamed(runtime):
            runtime.check(model)
    check_tokens(tokenizer, sentences)


def generation_of(model: Any) -> Generation:
    """The decoding settings `model.generate` would use, with transformers' defaults filled in.

    `max_length` is cut to what the decoder has positions for (transformers would fail there).

    Raises:
        InputError: a setting without counterpart here is switched on, a value is none that `generate` could use, or start or
            end token are not set.

    Warns:
        TpruneWarning: no configuration says how long an output may be, so that transformers' default of 20 tokens holds.
    """
    g, name = model.generation_config, type(model).__name__
    for key, neutral in SWITCHED_OFF.items():
        value = getattr(g, key, None)
        if value not in neutral:
            raise InputError(
                f"{name}: generation_config.{key} is {value!r}; the export can only do {neutral[-1]!r}: set it so in "
                "generation_config.json, and the model's own scores will show what that costs"
            )
    start = g.bos_token_id if g.decoder_start_token_id is None else g.decoder_start_token_id
    eos = _tuple(g.eos_token_id)
    if start is None or not eos:
        missing = "eos_token_id" if not eos else "decoder_start_token_id"
        raise InputError(f"{name}: generation_config.{missing} is not set; decoding needs a start and an end token")
    positions, longest = _positions(model.model.decoder), longest_output(model)
    found = Generation(
        decoder_start_token_id=start, eos_token_id=eos, pad_token_id=eos[0] if g.pad_token_id is None else g.pad_token_id,
        max_length=min(longest, positions + 1) if type(longest) is int else longest, num_beams=_or(g.num_beams, 1),
        bad_words_ids=_forbidden(g, eos, name),
        min_length=_or(g.min_length, 0) if g.min_new_tokens is None else _one_more(g.min_new_tokens),
        length_penalty=_or(g.length_penalty, 1.0), early_stopping=_or(g.early_stopping, False),
        forced_bos_token_id=g.forced_bos_token_id, forced_eos_token_id=_tuple(g.forced_eos_token_id),
        renormalize_logits=_or(g.renormalize_logits, False), no_repeat_ngram_size=_or(g.no_repeat_ngram_size, 0),
        repetition_penalty=_or(g.repetition_penalty, 1.0),
    )  # fmt: skip
    wrong = fault(found, int(model.final_logits_bias.shape[-1]), positions)
    if wrong is None and type(found.repetition_penalty) is not float:
        wrong = f"repetition_penalty is {found.repetition_penalty}; expected a number with a point, as `generate` does"
    if wrong is not None:
        raise InputError(f"{name}: generation_config.{wrong}")
    return found


def longest_output(model: Any) -> Any:
    """The most tokens of an output, with the start token; warns where that is nobody's choice."""
    g, name = model.generation_config, type(model).__name__
    if g.max_new_tokens is not None:
        return _one_more(g.max_new_tokens)
    if g.max_length is not None:
        return g.max_length
    warnings.warn(
        f"{name}: no max_length in generation_config.json or config.json, so every translation ends after {UNSAID} tokens, "
        "transformers' default; set max_length there to the longest that is right",
        TpruneWarning,
        stacklevel=3,
    )
    return UNSAID + 1


def _forbidden(g: Any, eos: Sequence[int], name: str) -> tuple[tuple[int, ...], ...]:
    """Words that are never written: `bad_words_ids`, of which transformers leaves out the end token, and `suppress_tokens`."""
    words, never = g.bad_words_ids or (), g.suppress_tokens or ()
    for key, value, lists in (("bad_words_ids", words, words), ("suppress_tokens", never, (never,))):
        if not isinstance(value, list | tuple) or not all(_ids(one) for one in lists):
            raise InputError(f"{name}: generation_config.{key} is {reprlib.repr(value)}; expected lists of token ids")
    found = [tuple(word) for word in words if tuple(word) not in {(end,) for end in eos}]
    return tuple(dict.fromkeys([*found, *((token,) for token in never)]))


def _ids(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(type(token) is int for token in value)


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _one_more(new: Any) -> Any:
    """New tokens and the start token; what is no number is named later."""
    return new + 1 if type(new) is int else new


def _tuple(ids: Any) -> tuple[Any, ...]:
    if ids is None:
        return ()
    return tuple(ids) if isinstance(ids, list | tuple) else (ids,)


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
            known |= set(read_layout(out).files.stamps)
        strange = sorted(x.name for x in out.iterdir() if x.name not in known) if out.is_dir() else [out.name]
        if strange:
            raise InputError(
                f"{out}: holds {strange[0]}, which no export wrote; expected a new folder or an older export"
            )
