"""A task of one pass goes where translation goes: sizes, certificates, losses, calibration and training ask it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BartConfig, BartForSequenceClassification, BertConfig, BertForSequenceClassification

from tprune.analysis.loss_curves import token_loss_on
from tprune.core.known_tasks import TASKS, task_of
from tprune.core.plan import Plan, fingerprint
from tprune.core.task import Examples, Task
from tprune.counting.size import size
from tprune.data.texts import LabeledTexts, Texts
from tprune.realise.certificate import certify
from tprune.support.errors import CertificateError, InputError
from tprune.tasks.metrics.accuracy import ACCURACY, accuracy
from tprune.tasks.scoring import score_of, scores
from tprune.tasks.text_classification import EncodedTexts, TextClassification
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.schedule import TrainingConfig
from tprune.train.trainer import dropout_at, train

TASK = TextClassification()
STACK = {"layers": 1, "attention_heads": 2, "ffn_dim": 24}  # of an encoder, and of a decoder


def bert(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        num_labels=3,
        hidden_dropout_prob=0.0,
    )
    return BertForSequenceClassification(config).eval()


def texts(n: int, seed: int = 0) -> EncodedTexts:
    """The class is that of the first token: something to learn."""
    rng = np.random.default_rng(seed)
    ids = tuple([2, *rng.integers(5, 40, rng.integers(2, 9)).tolist(), 3] for _ in range(n))
    return EncodedTexts(ids, tuple(row[1] % 3 for row in ids))


def test_a_model_says_its_task(marian_small: Any) -> None:
    assert task_of(bert()) == TASK and task_of(marian_small) is TRANSLATION
    assert all(isinstance(task, Task) and task.name == name for name, task in TASKS.items())
    assert isinstance(texts(3), Examples)
    with pytest.raises(
        InputError,
        match=r"Linear is made for no known task; known are: translation, language-modelling, "
        r"image-classification, text-class",
    ):
        task_of(torch.nn.Linear(2, 2))
    assert task_of(bert(), "text-classification") == TASK
    with pytest.raises(
        InputError, match=r"^BertForSequenceClassification is for text-classification; expected a model for transl"
    ):
        task_of(bert(), "translation")


def test_sizes_are_those_of_one_pass() -> None:
    model, tokens, width, units = bert(), 7, 16, 24
    found = size(model, TextClassification(tokens))
    assert found.parameters == sum(p.numel() for p in model.parameters()) and found.bytes == 4 * found.parameters
    linears = tokens * (4 * width * width + 2 * width * units)
    attention = 2 * tokens * tokens * width
    assert found.macs == 2 * (linears + attention) + width * width + 3 * width
    assert size(model).macs == size(model, TextClassification(16)).macs  # no longer than its positions


def test_a_certificate_of_one_pass() -> None:
    model, plan = bert(), Plan("bert", fingerprint(bert()), ())
    batch = TASK.random(model)
    found = certify(model, plan, bert(), batch)
    assert found.forward == 0 and found.steps == 0 and found.generation == 0 and found.sentences == 3
    other = bert()
    other.bert.encoder.layer[1].output.dense.bias.data[3] += 1
    with pytest.raises(CertificateError, match="from layer 1 on"):
        certify(model, plan, other, batch)


def test_training_learns_and_its_loss_is_that_of_the_curves(tmp_path: Path) -> None:
    model, valid = bert(), texts(60, 1)
    batches = [TASK.collate([valid[i] for i in range(60)], 0)]
    before = token_loss_on(batches)(model)
    expected = torch.nn.functional.cross_entropy(TASK.run(model, batches[0]).logits, batches[0]["labels"])
    assert before == pytest.approx(float(expected))
    how = TrainingConfig(
        steps=240, lr=2e-3, warmup=20, batch_tokens=512, label_smoothing=0.0, precision="fp32", eval_every=80
    )
    log = train(model, texts(2000), valid, how, tmp_path)
    after = token_loss_on(batches)(model.eval())
    assert after < 0.5 * before
    assert min(entry["eval_loss"] for entry in log if "eval_loss" in entry) == pytest.approx(after, rel=1e-4)
    (score,) = scores(TASK, TASK.predict(model, valid), valid)
    assert score.metric == ACCURACY and score.value > 80 and score.low < score.value <= score.high <= 100


def test_hidden_states_teach(tmp_path: Path) -> None:
    teacher, student = bert(), bert(1)
    how = TrainingConfig(steps=4, lr=1e-3, batch_tokens=128, precision="fp32", distill=0.5, hidden_distillation=1.0)
    train(student, texts(60), texts(10, 1), how, tmp_path, teacher=teacher)
    batch = TASK.random(teacher)
    states = TASK.states(TASK.run(teacher, batch, hidden=True), batch)
    assert len(states) == 1 and len(states[0].layers) == TASK.depth(teacher)["hidden"] == 2
    assert states[0].kept.sum() == batch["attention_mask"].sum()


def test_encoded_texts(tokenizer_of_words: Any) -> None:
    model = bert()
    model.config.max_position_embeddings = 4
    found = TASK.encode(LabeledTexts(("a b", "a b c d e f"), ("1", "0"), "toy"), tokenizer_of_words, model)
    assert found.texts == ([97, 98], [97, 98, 99, 102]) and found.classes == (1, 0)  # the last token stays the last
    assert found.notes == ("toy: 1 of 2 texts are cut to 4 tokens",)
    batch = TASK.collate([found[0], found[1]], 0)
    assert batch["input_ids"].shape == (2, 4) and batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [1, 0]
    with pytest.raises(InputError, match="toy: 2 texts and 1 labels; expected equally many"):
        LabeledTexts(("a", "b"), ("1",), "toy")
    with pytest.raises(InputError, match="text-classification: Texts; expected LabeledTexts"):
        TASK.encode(Texts(("a",)), tokenizer_of_words, model)  # type: ignore[arg-type]


@pytest.fixture
def tokenizer_of_words() -> Any:
    from types import SimpleNamespace

    return lambda texts, verbose=True: SimpleNamespace(input_ids=[[ord(w) for w in text.split()] for text in texts])


@pytest.mark.parametrize(
    ("right", "n", "low", "high"), [(0, 10, 0.0, 27.8), (10, 10, 72.2, 100.0), (81, 263, 25.5, 36.6)]
)
def test_accuracy_and_its_interval(right: int, n: int, low: float, high: float) -> None:
    """The last is the example of Newcombe's comparison of intervals (1998)."""
    found = score_of(accuracy([1] * right + [0] * (n - right), [1] * n))
    assert found.value == pytest.approx(100 * right / n, abs=1e-4) and found.count == n
    assert (round(found.low, 1), round(found.high, 1)) == (low, high)
    with pytest.raises(InputError, match="0 predictions for 0 labels"):
        accuracy([], [])


def test_dropout_is_set_wherever_a_model_has_any() -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**{**bert().config.to_dict(), "hidden_dropout_prob": 0.1}))
    rates = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    assert 0.1 in rates
    with dropout_at(model, 0.3):
        assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.3}
    assert [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)] == rates


def test_classifiers_that_read_the_end_token_get_one() -> None:
    sizes = {"vocab_size": 40, "d_model": 16, "max_position_embeddings": 32, "num_labels": 3}
    parts = {f"{stack}_{what}": n for stack in ("encoder", "decoder") for what, n in STACK.items()}
    model = BartForSequenceClassification(BartConfig(**sizes, **parts)).eval()
    end = int(model.config.eos_token_id)
    for batch in (TASK.example(model), TASK.random(model)):
        lengths = batch["attention_mask"].sum(1)
        assert (batch["input_ids"] == end).sum(1).tolist() == [1] * len(lengths)
        assert all(row[length - 1] == end for row, length in zip(batch["input_ids"], lengths, strict=True))
        assert TASK.run(model, batch).logits.shape == (len(lengths), 3)
    model.config.eos_token_id = None
    with pytest.raises(InputError, match="eos_token_id of its configuration is None; expected the id of a token"):
        TASK.example(model)
