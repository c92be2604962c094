"""Small models of every build, dense and with everything cut of them that can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

from benchmarks.other_tasks.resnet import ResNet
from tprune.core.plan import Plan, make_plan
from tprune.core.selection import keep_best, lines_of
from tprune.data.synthetic.grammar import corpus
from tprune.families.registry import couplings, family_of
from tprune.realise.shrink import shrink
from tprune.tasks.translation.encoding import MarianSize, new_model, train_tokenizer

PAIRS = corpus(train=400, valid=20, test=10)
SENTENCES = tuple(PAIRS.valid.source[:4])
STEPS = 60
SMALL = {"num_hidden_layers": 3, "intermediate_size": 64, "vocab_size": 60, "max_position_embeddings": 64}
PARTS = {  # what CTranslate2 and ResNets can have cut; what leaves whole matrices; all
    "units": ("ffn", "channels"),
    "parts": ("ffn", "heads", "qk", "vo", "sublayer", "width"),
    "everything": ("ffn", "heads", "qk", "vo", "sublayer", "width", "lines"),
}


@dataclass(frozen=True)
class Example:
    """A model to export."""

    name: str
    model: Any
    tokenizer: Any = None
    sentences: Sequence[str] = ()


def examples() -> Iterator[Example]:
    """All of them, each dense, without some units, and with all that its family can cut."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(PAIRS.train.source + PAIRS.train.target, vocabulary=300, max_length=64)
    marian = new_model(MarianSize(32, (2, 3), heads=4, ffn=48, positions=128), len(tokenizer))
    _teach(marian, tokenizer)
    marian.generation_config.max_length = 24
    for name, model in _cut("marian", marian):
        yield Example(name, model, tokenizer, SENTENCES)
    marian.generation_config.update(suppress_tokens=[5, 7, 8], renormalize_logits=True)
    yield Example("marian-vocabulary", marian, tokenizer, SENTENCES)
    llama = LlamaConfig(**SMALL, hidden_size=32, num_attention_heads=4, num_key_value_heads=4, pad_token_id=0)
    bert = BertConfig(**SMALL, hidden_size=32, num_attention_heads=4, num_labels=5)
    others = (LlamaForCausalLM(llama), BertForSequenceClassification(bert), ResNet(1, 8))
    for kind, other in zip(("llama", "bert", "resnet"), others, strict=True):
        yield from (Example(name, model) for name, model in _cut(kind, _lively(other)))


def _cut(name: str, model: Any) -> Iterator[tuple[str, Any]]:
    yield f"{name}-dense", model.eval()
    have = {one.kind for one in couplings(model)}
    for part, kinds in PARTS.items():
        there = [kind for kind in kinds if kind in have]
        if (part == "units" and "heads" in have and name != "marian") or (part != "units" and "heads" not in have):
            continue  # the others' units are cut beside their heads
        plan = make_plan(model, family_of(model).name, couplings(model, there))
        yield f"{name}-{part}", _uneven(model, plan).eval()


def _uneven(model: Any, plan: Plan) -> Any:
    """Shrunk so that couplings of the same kind keep different numbers of groups; of the blocks every third goes."""
    random, seen, kept = torch.Generator().manual_seed(1), Counter[str](), {}
    for groups in plan.bind(model):
        kind = groups.coupling.kind
        scores = torch.rand(groups.shape, generator=random)
        share = (0.5, 0.75)[seen[kind] % 2] if kind != "vo" else 0.6
        count = max(1, int(share * lines_of(scores))) if groups.shape else int(seen[kind] % 3 != 1)
        kept[groups.coupling.name] = keep_best(scores, count)
        seen[kind] += 1
    return shrink(model, plan.with_kept(kept, {}, {}))


def _lively(model: nn.Module) -> nn.Module:
    """With random biases and norms: zeros and ones would hide mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn(parameter.shape))
    return model


def _teach(model: Any, tokenizer: Any) -> None:
    """A random model repeats one token for ever, which tests no search."""
    _lively(model)
    pairs = PAIRS.train
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    model.train()
    for step in range(STEPS):
        rows = slice(16 * step % 384, 16 * step % 384 + 16)
        texts = {"text": list(pairs.source[rows]), "text_target": list(pairs.target[rows])}
        batch = tokenizer(**texts, padding=True, truncation=True, return_tensors="pt")
        optimizer.zero_grad()
        labels = batch.labels.masked_fill(batch.labels == tokenizer.pad_token_id, -100)
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss.backward()
        optimizer.step()
    model.eval()
