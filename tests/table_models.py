"""Small models of the families that are tables, in double precision, random biases and norms, with inputs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    Gemma2Config,
    Gemma2ForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

from benchmarks.other_tasks.resnet import ResNet
from tprune.core.plan import Plan, make_plan
from tprune.families.registry import couplings, family_of
from tprune.realise.checkpoint import load
from tprune.testing import random_kept, randomise_

IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
BERT: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "max_position_embeddings": 30,
    "num_labels": 5,
}
LLAMA: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 20,
    "max_position_embeddings": 30,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
BIASES = {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "num_key_value_heads": 8}
DECODER = LLAMA | {"num_hidden_layers": 2}
GPT2: dict[str, Any] = {
    "vocab_size": 40,
    "n_embd": 24,
    "n_layer": 2,
    "n_head": 4,
    "n_inner": 20,
    "n_positions": 30,
} | IDS
NEOX = BERT | {"num_hidden_layers": 2, "hidden_size": 32} | IDS
EXPERTS = {"num_local_experts": 4, "initializer_range": 0.3, "experts_implementation": "eager"}
OPT_SIZES = NEOX | {"word_embed_proj_dim": 12, "ffn_dim": 20}
MODELS: dict[str, Callable[[], nn.Module]] = {
    "bert": lambda: BertModel(BertConfig(**BERT)),
    "bert-classifier": lambda: BertForSequenceClassification(BertConfig(**BERT)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA)),
    "resnet": lambda: ResNet(2, 4),
    "llama-biases": lambda: LlamaForCausalLM(LlamaConfig(**(LLAMA | BIASES))),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**DECODER, sliding_window=4)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**DECODER)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**DECODER, head_dim=6)),
    "gemma": lambda: GemmaForCausalLM(GemmaConfig(**DECODER, head_dim=4)),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**DECODER, head_dim=4, attn_logit_softcapping=2.0)),
    "smollm3": lambda: SmolLM3ForCausalLM(SmolLM3Config(**DECODER, no_rope_layers=[1, 0])),
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(**DECODER, **EXPERTS)),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**DECODER)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT2)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**NEOX)),
    "opt": lambda: OPTForCausalLM(OPTConfig(**OPT_SIZES)),
}
EAGER_ALONE = "gemma2"  # whose logits of attention are limited
SINGLE = ("llama", "llama-biases", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "smollm3", "mixtral", "phi3")
DECODERS = (*SINGLE, "gpt2", "gpt_neox", "opt")
LIMITS = dict.fromkeys(SINGLE, 1e-6)  # whose norms are computed in single precision
EXACT = 1e-9


def limit(name: str) -> float:
    return LIMITS.get(name, EXACT)


def back(folder: Path, model: nn.Module) -> Any:
    """A model from disk, of the class of another."""
    return load(folder, architecture=ResNet if isinstance(model, ResNet) else None)


def table_model(name: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    model: Any = MODELS[name]().double().eval()
    randomise_(model, seed)
    return model


def inputs(model: nn.Module) -> dict[str, Tensor]:
    """Token ids with padding, or pixels."""
    random = torch.Generator().manual_seed(3)
    if isinstance(model, ResNet):
        return {"pixel_values": torch.randn(2, 3, 8, 8, generator=random).to(model.linear.weight)}
    tokens = torch.randint(3, 40, (3, 8), generator=random)
    mask = torch.ones_like(tokens)
    mask[1, 5:] = 0
    return {"input_ids": tokens, "attention_mask": mask}


def outputs(model: nn.Module, batch: Mapping[str, Tensor] | None = None) -> Tensor:
    """What the model says of positions that count."""
    batch = batch if batch is not None else inputs(model)
    found: Any = model(**batch)
    if isinstance(found, Tensor):
        return found
    if hasattr(found, "pooler_output"):  # hidden states become narrower with the residual stream
        pooled: Tensor = found.pooler_output
        return pooled
    logits: Tensor = found.logits
    return logits if logits.ndim == 2 else logits[batch["attention_mask"].bool()]


def kinds_of(model: nn.Module) -> list[str]:
    return list(dict.fromkeys(coupling.kind for coupling in couplings(model)))


def kept_by(model: Any, kinds: Sequence[str], seed: int = 0, gone: Sequence[str] = ()) -> Plan:
    """A random plan; of the couplings named in `gone` nothing is kept."""
    plan = random_kept(model, make_plan(model, family_of(model).name, couplings(model, kinds)), seed=seed)
    kept = {e.coupling.name: e.keep & (e.coupling.name not in gone) for e in plan.entries}
    return plan.with_kept(kept, {}, {})
