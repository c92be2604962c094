"""Small models whose biases and norms are random: zero biases and unit norms would hide mistakes."""

import torch
from transformers import BartConfig, BartForConditionalGeneration, MarianConfig, MarianMTModel, PreTrainedTokenizerFast

from tprune.core.caches import Caches, translation_signatures
from tprune.families.modeling.modeling_pruned import pruned_class, pruned_config
from tprune.realise.earlier import converted
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.support.manifest import Manifest
from tprune.tasks.translation.encoding import MarianSize, new_model
from tprune_runtime.generation import Generation

SENTENCES = (
    "a cat sat on the mat",
    "two dogs play in the snow",
    "the old man reads a paper",
    "a dog",
    "children run over the green grass",
    "one woman in a red coat waits for the bus at night",
    "men at work",
    "she paints a house and he looks at it",
    "a boy jumps",
    "the band plays on a small stage in the park",
)
PRUNED = {  # sizes part by part
    "attention": {
        "model.encoder.layers.0.self_attn": {"heads": 3, "qk": 4, "v": 6},
        "model.decoder.layers.1.self_attn": {"heads": 2, "qk": 7, "v": 3},
        "model.decoder.layers.0.encoder_attn": {"heads": 1, "qk": 8, "v": 5},
        "model.decoder.layers.2.encoder_attn": {"heads": 0, "qk": 0, "v": 0},
    },
    "ffn": {"model.encoder.layers.0": 17, "model.decoder.layers.2": 0},
    "removed": ["model.decoder.layers.0.self_attn", "model.encoder.layers.1.ffn", "model.encoder.layers.1.self_attn"],
}
EXTRA = {
    "narrow": {"width": 22},
    "gathered": {
        "gather": {"model.encoder.layers.0.fc1": {"in": 20}, "model.decoder.layers.0.fc2": {"in": 9, "out": 11}}
    },
}


def randomise_(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.dim() == 1:
                p.copy_(noise * 0.3 + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
            elif name != "model.decoder.embed_positions.weight" and name != "model.encoder.embed_positions.weight":
                p.copy_(noise * p.shape[-1] ** -0.5)
            else:
                p.copy_(noise * 0.5)
        for name, b in model.named_buffers():
            if name.endswith("input_index"):
                b.copy_(torch.randperm(32, generator=generator)[: len(b)].sort().values)
            if name.endswith("output_index"):
                b.copy_(torch.arange(len(b)).clamp(max=11))
        model.final_logits_bias.copy_(torch.randn(model.final_logits_bias.shape, generator=generator) * 0.3)


def teach_(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, steps: int = 25) -> None:
    """Trains a little on nonsense pairs: a random model repeats one token for ever, which tests no search."""
    source = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    target = source.input_ids.roll(3, 0)
    labels = target.masked_fill(target == 0, -100)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=source.input_ids, attention_mask=source.attention_mask, labels=labels).loss.backward()
        optimizer.step()


def stock_marian(vocabulary: int) -> MarianMTModel:
    torch.manual_seed(0)
    model = new_model(MarianSize(32, (2, 3), 4, 48, vocabulary, 0.1, 40), vocabulary)
    randomise_(model)
    model.generation_config.max_length = 24
    return model.eval()


def pruned_marian(marian: MarianMTModel, extra: dict) -> MarianMTModel:
    torch.manual_seed(0)
    dense = {key: value for key, value in marian.config.to_dict().items() if key != "model_type"}
    config = pruned_config(MarianConfig)(**dense, pruned=converted(MarianMTModel, dense, PRUNED | extra))
    model = pruned_class(MarianMTModel)(config)
    model.generation_config = marian.generation_config
    randomise_(model)
    return model.eval()


def bart(vocabulary: int) -> BartForConditionalGeneration:
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=vocabulary,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=40,
        decoder_ffn_dim=40,
        max_position_embeddings=40,
        scale_embedding=True,
        activation_function="gelu",
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        decoder_start_token_id=1,
        forced_eos_token_id=1,
    )
    model = BartForConditionalGeneration(config).eval()
    randomise_(model)
    model.generation_config.update(max_length=20, num_beams=3, bad_words_ids=[[0]], forced_eos_token_id=1)
    return model


def made_up(
    generation: Generation, files: Manifest | None = None, cross: Caches = (), rows: tuple[int, ...] = ()
) -> TranslationLayout:
    """The layout of a model of 20 tokens and 8 positions."""
    return TranslationLayout(
        task="translation",
        phases=("encoder", "decoder_step", "sentence"),
        graphs=translation_signatures(cross, ()),
        parameters=1,
        macs=1,
        files=files or Manifest({}),
        generation=generation,
        vocabulary=20,
        source_positions=8,
        rows=rows,
    )
