"""A translation model trained from a recipe, and one with only the tokens that some sentences need."""

from __future__ import annotations

from typing import Any

from tprune.budget.evidence import check_reachable
from tprune.counting.size import size
from tprune.data.splits import Splits
from tprune.realise.checkpoint import load, load_tokenizer, save
from tprune.recipe.schema import Recipe
from tprune.recipe.training import training_of
from tprune.recipe.whole import from_whole
from tprune.run.dense_model import encoded, exportable, fitted
from tprune.run.estimates import expect
from tprune.run.folder import Run
from tprune.run.steps import plan_step
from tprune.tasks.translation.encoding import MarianSize, new_model, train_tokenizer
from tprune.train.training_data import SAVE_EVERY
from tprune.vocabulary.trim import restricted_to, trim_vocabulary

LOST = 0.05  # of the validation text's tokens: a vocabulary that lacks more was trimmed to another kind of text


def untrained(recipe: Recipe, corpus: Splits[Any]) -> tuple[Any, Any]:
    """A recipe's dense model before training, and its tokeniser learnt from the training sentences."""
    spec = recipe.model
    tokenizer = train_tokenizer(corpus.train.source + corpus.train.target, spec.vocabulary, spec.positions)
    shape = MarianSize(spec.d_model, spec.layers, spec.heads, spec.ffn, spec.vocabulary, spec.dropout, spec.positions)
    return new_model(shape, len(tokenizer)), tokenizer


def trained(run: Run) -> dict[str, Any]:
    """Stage `train` of a run without a model."""
    model, tokenizer = untrained(run.recipe, run.corpus)
    if run.plan is None and run.vocabulary is None:  # an unreachable size is said now, not after the training
        how = run.recipe.prune
        writer = model if how.output_vocabulary is None else restricted_to(model, range(how.output_vocabulary))
        asked = from_whole(how, size(model, run.task), size(writer, run.task))
        check_reachable(writer, plan_step(model, how), asked, run.task)
    exportable(run, model, tokenizer)
    run, _ = fitted(run, model, tokenizer)  # said once it is trained
    data = encoded(run, model, tokenizer)
    expect(run, model, data)
    log = data.run(model, training_of(run.recipe.train), run.work("train"), save_every=SAVE_EVERY)
    save(model, run.out / "dense", tokenizer)
    return {"log": log}


def trim(run: Run) -> dict[str, Any]:
    """Stage `trim`: the dense model with only the tokens that the given sentences need."""
    dense, tokenizer = load(run.out / "dense"), load_tokenizer(run.out / "dense")
    vocabulary: Any = run.vocabulary
    trimmed = trim_vocabulary(dense, tokenizer, vocabulary, held_out=run.corpus.valid, task=run.task)
    run.progress.note(str(trimmed))
    if trimmed.held_out is not None and trimmed.held_out.lost > LOST:
        run.progress.note(
            f"warning: {trimmed.held_out.lost:.0%} of the validation tokens are gone with the vocabulary; "
            "the sentences to trim to are of another kind or language"
        )
    save(trimmed.model, run.out / "trimmed", trimmed.tokenizer)
    return {"tokens": trimmed.tokens, "kept": len(trimmed.kept)}
