"""Small encoders of every head that transformers has for them, in double precision, with what they are given."""

from collections.abc import Mapping
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from tprune.core.plan import Plan, make_plan
from tprune.families.registry import couplings, family_of
from tprune.testing import random_kept, randomise_

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "max_position_embeddings": 30,
}
DISTIL: dict[str, Any] = {"vocab_size": 40, "dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 20}
CONFIGS: Mapping[str, Mapping[str, Any]] = {  # by how transformers' classes begin
    "Bert": SIZES,
    "Roberta": SIZES,
    "XLMRoberta": SIZES,
    "Camembert": SIZES,
    "DistilBert": DISTIL,
    "Electra": SIZES | {"embedding_size": 16},
    "Albert": SIZES | {"embedding_size": 16, "num_hidden_groups": 2, "num_hidden_layers": 4},
}
ENDS = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 2)
IMAGES: dict[str, Any] = {key: SIZES[key] for key in list(SIZES)[1:5]} | {"image_size": 8, "patch_size": 4}
TOWERS = {"text_config": SIZES | {"eos_token_id": 39}, "vision_config": IMAGES | {"hidden_size": 32}}
CONFIGS = {
    **CONFIGS,
    "ModernBert": SIZES | {"num_hidden_layers": 3, "local_attention": 8, "pad_token_id": 0} | ENDS,
    "ViT": IMAGES | {"encoder_stride": 4},
    "DeiT": IMAGES | {"encoder_stride": 4},
    "CLIPText": TOWERS["text_config"] | {"projection_dim": 12},
    "CLIPVision": TOWERS["vision_config"] | {"projection_dim": 12},
    "CLIP": TOWERS | {"projection_dim": 12},
}
WORDS = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "Model")
EACH: Mapping[str, tuple[str, ...]] = {  # the heads of each, the one that the fast tests take first
    **dict.fromkeys(("XLMRoberta", "Camembert", "DistilBert", "ModernBert"), (*WORDS, "ForMultipleChoice")),
    "Bert": (*WORDS, "ForMultipleChoice", "ForPreTraining", "ForNextSentencePrediction", "LMHeadModel"),
    "Roberta": (*WORDS, "ForMultipleChoice", "ForCausalLM"),
    "Electra": (*WORDS, "ForPreTraining", "ForCausalLM"),
    "Albert": (*WORDS, "ForMultipleChoice", "ForPreTraining"),
    "ViT": ("ForImageClassification", "Model", "ForMaskedImageModeling"),
    "DeiT": ("ForImageClassificationWithTeacher", "ForImageClassification", "Model", "ForMaskedImageModeling"),
    "CLIP": ("Model", "ForImageClassification"),
    "CLIPText": ("ModelWithProjection", "Model"),
    "CLIPVision": ("ModelWithProjection", "Model"),
}
FIRST = tuple(f"{name}{heads[0]}" for name, heads in EACH.items())
OTHERS = tuple(f"{name}{head}" for name, heads in EACH.items() for head in heads[1:])
RESULTS = (  # the first that is there
    *("logits", "prediction_logits", "start_logits", "reconstruction", "logits_per_image"),
    *("text_embeds", "image_embeds", "pooler_output", "last_hidden_state"),
)
SINGLE = ("ModernBert",)  # whose rotations are computed in single precision
EAGER = ("ViT", "DeiT", "CLIP", "ModernBert")  # whose eager attention takes the softmax in single precision


def encoder(name: str, seed: int = 0, **changes: Any) -> Any:
    """A small model of a class of transformers."""
    torch.manual_seed(seed)
    kind: Any = getattr(transformers, name)
    begins = max((begin for begin in CONFIGS if name.startswith(begin)), key=len)
    config = kind.config_class(**{**CONFIGS[begins], **changes}, num_labels=5 if "Classification" in name else 2)
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        config.is_decoder = True
    model = kind(config).double().eval()
    randomise_(model, seed)
    return model


def limit(name: str, eager: bool = False) -> float:
    """How far masked and shrunk may be apart."""
    return 5e-6 if eager and name.startswith(EAGER) else 1e-6 if name.startswith(SINGLE) else 1e-10


def given(model: Any) -> dict[str, Tensor]:
    """Padded token ids, or pixels, or both."""
    random = torch.Generator().manual_seed(3)
    pixels = torch.randn(2, 3, 8, 8, generator=random, dtype=next(model.parameters()).dtype)
    if "text" not in model.input_modalities:
        return {"pixel_values": pixels}
    ids = torch.randint(3, 40, (3, 8), generator=random)
    mask = torch.ones_like(ids)
    mask[1, 5:], ids[1, 5:] = 0, int(getattr(model.config, "pad_token_id", 0) or 0)
    ids[0, 7], ids[1, 4], ids[2, 7] = 39, 39, 39  # the end of a text, of which CLIP takes the state
    batch = {"input_ids": ids, "attention_mask": mask}
    if "image" in model.input_modalities:
        batch["pixel_values"] = pixels
    if type(model).__name__.endswith("ForMultipleChoice"):
        return {key: x[:, None].repeat(1, 2, 1) for key, x in batch.items()}
    return batch


def said(model: Any, batch: Mapping[str, Tensor] | None = None) -> Tensor:
    """What the model says; of a stream that may be narrower, the dimensions that are not zero."""
    batch = given(model) if batch is None else batch
    found = model(**batch)
    result: Tensor = next(found[name] for name in RESULTS if found.get(name) is not None)
    if "attention_mask" in batch and result.shape[:2] == batch["attention_mask"].shape:
        result = result[batch["attention_mask"].bool()]
    return result[..., (result != 0).flatten(0, -2).any(0)] if "last_hidden_state" in found else result


def kinds_of(model: nn.Module) -> list[str]:
    return list(dict.fromkeys(coupling.kind for coupling in couplings(model)))


def chosen(model: Any, kinds: list[str] | None = None, seed: int = 0) -> Plan:
    return random_kept(model, make_plan(model, family_of(model).name, couplings(model, kinds)), seed=seed)
