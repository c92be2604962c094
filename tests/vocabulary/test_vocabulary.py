"""A trimmed model and its tokeniser translate as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from small_models import small_model
from small_tokenizers import opus_tokenizer
from tprune.counting.output_rows import written_rows
from tprune.counting.size import size
from tprune.data.parallel import Parallel
from tprune.realise.checkpoint import load, load_tokenizer, save
from tprune.runtimes.export import export
from tprune.runtimes.translator import Translator
from tprune.support.errors import InputError, TpruneWarning
from tprune.tasks.translation.encoding import MarianSize, new_model, train_tokenizer
from tprune.vocabulary.trim import coverage, trim_vocabulary

SOURCE = (
    "a cat sat",
    "two dogs play in the snow",
    "a man reads",
    "men at work",
    "the cat plays",
    "a rare zebra grazes",
)
TARGET = (
    "eine Katze saß",
    "zwei Hunde spielen im Schnee",
    "ein Mann liest",
    "Männer arbeiten",
    "die Katze spielt",
    "ein seltenes Zebra grast",
)
CORPUS = Parallel(SOURCE[:4], TARGET[:4])


def teach(tokenizer: Any, **ids: int) -> Any:
    """A model that knows its few sentences by heart."""
    torch.manual_seed(0)
    model = new_model(MarianSize(32, (1, 1), 4, 48, 140, 0.0, 30), len(tokenizer))
    for key, index in ids.items():
        setattr(model.config, key, index)
        setattr(model.generation_config, key, index)
    model.generation_config.bad_words_ids = [[tokenizer.pad_token_id]]
    batch = tokenizer(list(SOURCE), padding=True, return_tensors="pt")
    labels = tokenizer(text_target=list(TARGET), padding=True, return_tensors="pt").input_ids
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(**batch, labels=labels.masked_fill(labels == tokenizer.pad_token_id, -100)).loss.backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def taught() -> tuple[Any, Any]:
    tokenizer = train_tokenizer([*SOURCE, *TARGET], vocabulary=140, max_length=30)
    return teach(tokenizer), tokenizer


@pytest.fixture(scope="module")
def opus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    tokenizer = opus_tokenizer(tmp_path_factory.mktemp("opus"), SOURCE, TARGET)
    pad = int(tokenizer.pad_token_id)
    return teach(
        tokenizer, pad_token_id=pad, decoder_start_token_id=pad, eos_token_id=tokenizer.eos_token_id
    ), tokenizer


@pytest.fixture(params=["taught", "opus"])
def pair(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def says(model: Any, tokenizer: Any, sentences: Any, beams: int) -> list[str]:
    batch = tokenizer(list(sentences), padding=True, return_tensors="pt")
    rows = model.generate(**batch, num_beams=beams, max_length=30)
    return [tokenizer.decode(row, skip_special_tokens=True) for row in rows]


def test_translations_stay(pair: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = pair
    found = trim_vocabulary(model, tokenizer, CORPUS)
    assert len(found.kept) < found.tokens == len(tokenizer) and not found.whole
    for beams in (1, 4):
        wanted = says(model, tokenizer, CORPUS.source, beams)
        assert wanted == list(CORPUS.target)  # so all its tokens are kept
        assert says(found.model, found.tokenizer, CORPUS.source, beams) == wanted
    save(found.model, tmp_path / "m", found.tokenizer)
    assert says(load(tmp_path / "m"), load_tokenizer(tmp_path / "m"), CORPUS.source, 4) == list(CORPUS.target)


@pytest.mark.slow
def test_translations_stay_in_onnxruntime(pair: tuple[Any, Any], tmp_path: Path) -> None:
    found = trim_vocabulary(*pair, CORPUS)
    report = export(found.model, found.tokenizer, tmp_path / "onnx", CORPUS.source)
    assert report.greedy_equal == report.beam_equal == len(CORPUS)
    translator = Translator.load(tmp_path / "onnx")
    assert translator.layout.vocabulary == len(found.kept) > translator.layout.writable == found.written
    assert translator.translate(CORPUS.source) == list(CORPUS.target)
    whole = export(found.model, found.tokenizer, tmp_path / "onnx", CORPUS.source[:1])
    assert {file for file, size in whole.files.items() if report.files[file] != size} <= {"certificate.json"}


def test_only_tokens_of_translations_are_written(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    found = trim_vocabulary(model, tokenizer, CORPUS)
    never = set(found.model.generation_config.suppress_tokens)
    assert len(never) == len(found.kept) - found.written > 0
    target = {t for row in found.tokenizer(text_target=list(CORPUS.target)).input_ids for t in row}
    source = {t for row in found.tokenizer(list(CORPUS.source)).input_ids for t in row}
    assert not never & target and never & source
    # what it would say of a foreign sentence is made of writable tokens, too
    said = found.model.generate(**found.tokenizer([SOURCE[5]], return_tensors="pt"), num_beams=2, max_length=12)
    assert not never & set(said[0].tolist())


def test_the_report(taught: tuple[Any, Any]) -> None:
    model, tokenizer = taught
    rest = Parallel(SOURCE[4:], TARGET[4:], "rest")
    found = trim_vocabulary(model, tokenizer, CORPUS, held_out=rest)
    assert (found.before, found.after) == (size(model), size(found.model))
    rows = found.tokens - len(found.kept)
    assert found.before.parameters - found.after.parameters == 32 * rows
    left_out = found.tokens - len(written_rows(found.model))  # the tokens that are only read, too
    assert left_out > rows and found.before.macs - found.after.macs == 25 * 32 * left_out
    assert found.corpus.changed == found.corpus.dropped == 0
    assert found.corpus.tokens == found.corpus.tokens_after
    assert found.held_out is not None and found.held_out.dropped > 0
    assert found.held_out.tokens_after > found.held_out.tokens and found.held_out.unknown_after == 0
    assert f"{found.tokens} -> " in str(found) and "held out" in str(found)


def test_coverage_by_hand() -> None:
    found = coverage([[3, 1], [2, 1], [9, 1]], [[2, 0], [1, 3, 0], [1, 0]], kept=[1, 4, 3, 5], unknown=[4])
    assert (found.sentences, found.changed, found.tokens, found.tokens_after) == (3, 2, 6, 7)
    assert (found.dropped, found.unknown, found.unknown_after) == (2, 0, 2)


def test_rare_tokens_go_and_more_sentences_stay(taught: tuple[Any, Any]) -> None:
    model, tokenizer = taught
    once, twice = (trim_vocabulary(model, tokenizer, CORPUS, least=least) for least in (1, 2))
    assert set(twice.kept) < set(once.kept)
    assert twice.corpus.changed > 0 and twice.corpus.dropped > 0
    more = trim_vocabulary(model, tokenizer, CORPUS, also=["a zebra"])
    assert set(once.kept) < set(more.kept)
    assert more.tokenizer.tokenize("a zebra") == tokenizer.tokenize("a zebra")
    # a sentence is counted once, whichever side it is of
    repeated = trim_vocabulary(model, tokenizer, CORPUS, also=["a zebra"], least=2)
    assert more.tokenizer.tokenize("a zebra") != repeated.tokenizer.tokenize("a zebra")


def test_a_corpus_that_needs_everything_cuts_nothing(taught: tuple[Any, Any]) -> None:
    once = trim_vocabulary(*taught, CORPUS)
    again = trim_vocabulary(once.model, once.tokenizer, CORPUS)
    assert (
        again.whole
        and again.written == again.writable == once.written
        and again.kept == tuple(range(len(once.kept)))
        and "nothing was cut" in str(again)
    )
    assert again.tokenizer.backend_tokenizer.to_str() == once.tokenizer.backend_tokenizer.to_str()
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), once.model.parameters(), strict=True))


def test_a_corpus_of_another_script_warns(taught: tuple[Any, Any]) -> None:
    foreign = Parallel(("кот сидит",), ("собака бежит",), "russian")
    with pytest.warns(TpruneWarning, match=r"russian: the tokeniser does not know \d+\.\d+ % of the tokens"):
        trim_vocabulary(*taught, foreign)


def test_bad_input(taught: tuple[Any, Any]) -> None:
    model, tokenizer = taught
    with pytest.raises(InputError, match="least 0"):
        trim_vocabulary(model, tokenizer, CORPUS, least=0)
    with pytest.raises(InputError, match="tokens, the model 40; expected a model with the tokeniser"):
        trim_vocabulary(small_model("marian"), tokenizer, CORPUS)
    with pytest.raises(InputError, match="cannot trim a list"):
        trim_vocabulary(model, [], CORPUS)
    with pytest.raises(InputError, match="no sentences"):
        Parallel((), ())


def test_separate_embeddings_of_a_joint_vocabulary(taught: tuple[Any, Any]) -> None:
    tokenizer = taught[1]
    sizes: dict[str, Any] = {"vocab_size": len(tokenizer), "decoder_vocab_size": len(tokenizer)}
    model = small_model("marian_untied", **sizes)
    found = trim_vocabulary(model, tokenizer, CORPUS)
    ids = found.tokenizer(list(CORPUS.source), padding=True, return_tensors="pt").input_ids
    old = torch.tensor(found.kept)[ids]
    with torch.no_grad():
        expected = model(input_ids=old, decoder_input_ids=old).logits[..., list(found.kept)]
        assert torch.allclose(found.model(input_ids=ids, decoder_input_ids=ids).logits, expected, atol=1e-12)
