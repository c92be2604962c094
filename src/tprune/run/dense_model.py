"""The model that a run prunes: trained or copied, its vocabulary trimmed where that is asked for, and checked before all else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from tprune.bench.harness import check_batch
from tprune.budget.evidence import check_reachable
from tprune.counting.size import size
from tprune.data.parallel import Corpus
from tprune.realise.checkpoint import load, load_tokenizer, save
from tprune.recipe.schema import Recipe
from tprune.recipe.training import training_of
from tprune.recipe.whole import from_whole
from tprune.run.estimates import expect
from tprune.run.folder import Run
from tprune.run.steps import plan_step
from tprune.runtimes.export import ENOUGH, check_exportable
from tprune.runtimes.runtime import runtime_named
from tprune.support.errors import InputError
from tprune.tasks.translation.encoding import MarianSize, check_translates, new_model, train_tokenizer
from tprune.tasks.translation.long_lines import LongLines
from tprune.train.training_data import SAVE_EVERY, TrainingData
from tprune.vocabulary.coverage import unfamiliar
from tprune.vocabulary.trim import restricted_to, trim_vocabulary

LOST = 0.05  # of the validation text's tokens: a vocabulary that lacks more was trimmed to another kind of text


def untrained(recipe: Recipe, corpus: Corpus) -> tuple[Any, Any]:
    """A recipe's dense model before training, and its tokeniser learnt from the training sentences."""
    spec = recipe.model
    tokenizer = train_tokenizer(corpus.train.source + corpus.train.target, spec.vocabulary, spec.positions)
    shape = MarianSize(spec.d_model, spec.layers, spec.heads, spec.ffn, spec.vocabulary, spec.dropout, spec.positions)
    return new_model(shape, len(tokenizer)), tokenizer


def make_dense(run: Run) -> dict[str, Any]:
    """Stage `train`: the dense model, trained here or copied from where it was given."""
    return _trained(run) if run.model is None else _copied(run, run.model)


def _copied(run: Run, name: str) -> dict[str, Any]:
    model, tokenizer = load(name, dtype=torch.float32), load_tokenizer(name)
    check_translates(model, name)
    if broken := [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]:
        raise InputError(f"{name}: {broken[0]} holds values that are not finite; expected a trained model")
    exportable(run, model, tokenizer)
    save(model, run.out / "dense", tokenizer)
    return {"from": name}


def _trained(run: Run) -> dict[str, Any]:
    model, tokenizer = untrained(run.recipe, run.corpus)
    if run.plan is None and run.vocabulary is None:  # an unreachable size is said now, not after the training
        how = run.recipe.prune
        writer = model if how.output_vocabulary is None else restricted_to(model, range(how.output_vocabulary))
        check_reachable(writer, plan_step(model, how), from_whole(how, size(model), size(writer)))
    exportable(run, model, tokenizer)
    run, _ = fitted(run, model, tokenizer)  # said once it is trained
    material = material_of(run, model, tokenizer)
    expect(run, model, material)
    log = material.run(model, training_of(run.recipe.train), run.work("train"), save_every=SAVE_EVERY)
    save(model, run.out / "dense", tokenizer)
    return {"log": log}


def trim(run: Run) -> dict[str, Any]:
    """Stage `trim`: the dense model with only the tokens that the given sentences need."""
    dense, tokenizer = load(run.out / "dense"), load_tokenizer(run.out / "dense")
    assert run.vocabulary is not None
    trimmed = trim_vocabulary(dense, tokenizer, run.vocabulary, held_out=run.corpus.valid)
    run.progress.note(str(trimmed))
    if trimmed.held_out is not None and trimmed.held_out.lost > LOST:
        run.progress.note(
            f"warning: {trimmed.held_out.lost:.0%} of the validation tokens are gone with the vocabulary; "
            "the sentences to trim to are of another kind or language"
        )
    save(trimmed.model, run.out / "trimmed", trimmed.tokenizer)
    return {"tokens": trimmed.tokens, "kept": len(trimmed.kept)}


def fitted(run: Run, model: Any, tokenizer: Any) -> tuple[Run, list[str]]:
    """The run on sentences that the model can take, and what became of the others."""
    data = run.recipe.data
    corpus, said = LongLines(data.long_lines, data.long_share).fit_corpus(run.corpus, model, tokenizer)
    check_batch(run.recipe.bench.batch, len(corpus.pooled_test()))
    return replace(run, corpus=corpus), said


def exportable(run: Run, model: Any, tokenizer: Any) -> None:
    """What cannot be exported in the end is said before anything is measured or trained. Raises as `check_exportable`."""
    check_exportable(model, tokenizer, run.corpus.valid.sample(ENOUGH).source, runtime_named(run.recipe.bench.runtime))


def material_of(run: Run, model: Any, tokenizer: Any) -> TrainingData:
    """The run's sentences, encoded for a model."""
    return TrainingData.of(
        model,
        tokenizer,
        run.corpus.train,
        run.corpus.valid,
        seed=run.recipe.seed,
        precision=run.recipe.train_precision,
        callbacks=(run.progress,),
    )


def foreign_text(run: Run) -> list[str]:
    """Warnings of sentences that the tokeniser of a given model was not made for."""
    tokenizer = load_tokenizer(run.out / "dense")  # a trimmed one knows what it was trimmed to
    texts = [pairs for pairs in (run.corpus.train, run.corpus.valid, run.vocabulary) if pairs is not None]
    return list(dict.fromkeys(line for pairs in texts for line in unfamiliar(pairs, tokenizer)))
