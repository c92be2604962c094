"""A Marian whose positions are learned keeps them: through saving, pruning and export, with stock transformers too."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForSeq2SeqLM, MarianMTModel, PreTrainedTokenizerFast

from small_models import small_batch, small_model
from tprune.analysis.one_shot import one_shot
from tprune.core.plan import make_plan
from tprune.data.parallel import Parallel
from tprune.families.graphs.encoder_decoder import DecoderStep, Encoder
from tprune.families.positions import POSITIONS, own_positions, sinusoids
from tprune.families.registry import couplings
from tprune.realise.checkpoint import load, save
from tprune.realise.shrink import shrink
from tprune.runtimes.export import export
from tprune.support.errors import InputError
from tprune.tasks.translation.task import TRANSLATION
from tprune.testing import random_kept
from tprune.train.training_data import TrainingData

TABLES = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")


def learned(seed: int = 0, **changes: Any) -> Any:
    model = small_model("marian", **changes).float()
    random = torch.Generator().manual_seed(seed)
    for name in TABLES:
        table = model.get_parameter(name)
        table.data = torch.randn(table.shape, generator=random)
    return model


def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(**small_batch()).logits
    return found.detach()


def test_sinusoids_are_what_transformers_computes() -> None:
    for width in (16, 15, 1):
        module = MarianMTModel(small_model("marian").config).model.encoder.embed_positions
        module.weight = torch.nn.Parameter(torch.empty(9, width), requires_grad=False)
        torch.testing.assert_close(sinusoids(9, width), module.create_weight(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_computed_positions_are_nobodys_own(dtype: torch.dtype) -> None:
    for precision in (dtype, torch.float32):  # widened again after loading
        assert not own_positions(small_model("marian").to(dtype).to(precision))
    assert own_positions(learned().to(dtype)) and not own_positions(small_model("bart"))


def test_a_dense_model_keeps_them(tmp_path: Path) -> None:
    model = learned()
    folder = save(model, tmp_path / "m")
    again = load(folder)
    assert type(again) is MarianMTModel and not any(again.get_parameter(name).requires_grad for name in TABLES)
    assert torch.equal(logits(again), logits(model))
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained(folder)), logits(model))  # stock code alone
    assert model._keys_to_ignore_on_save is not None  # as it was
    other = learned(1)
    assert (logits(other) - logits(model)).abs().max() > 0.1  # they matter
    assert not set(TABLES) & set(load_file(save(small_model("marian").float(), tmp_path / "s") / "model.safetensors"))


def test_a_pruned_model_keeps_them(tmp_path: Path) -> None:
    model = learned()
    for kinds, stock in ((["ffn", "heads", "width"], False), (["ffn"], False), (["ffn"], True)):
        plan = random_kept(model, make_plan(model, "marian", couplings(model, kinds)))
        if stock:
            kept = torch.arange(12) < 7, torch.arange(20) < 9
            plan = plan.with_kept(
                {
                    e.coupling.name: kept[".decoder." in e.coupling.name]
                    for e in plan.entries
                    if e.coupling.kind == "ffn"
                }
                | {e.coupling.name: torch.ones((), dtype=torch.bool) for e in plan.entries if e.coupling.kind != "ffn"},
                {},
                {},
            )
        small = shrink(model, plan, stock=stock)
        folder = save(small, tmp_path / "p")
        assert torch.equal(logits(load(folder)), logits(small)) and own_positions(small)
        assert (type(load(folder)) is MarianMTModel) == stock


def test_positions_beside_the_weights_are_read(tmp_path: Path) -> None:
    model = learned()
    folder = save(small_model("marian").float(), tmp_path / "m")
    assert (logits(load(folder)) - logits(model)).abs().max() > 0.1
    save_file({name: model.get_parameter(name).data.clone() for name in TABLES}, folder / POSITIONS)
    assert torch.equal(logits(load(folder)), logits(model))
    again = save(load(folder), tmp_path / "again")
    assert not (again / POSITIONS).exists() and torch.equal(logits(load(again)), logits(model))


@pytest.mark.parametrize("rows", [11, 50])
def test_tables_of_another_length_than_the_configuration_says(rows: int, tmp_path: Path) -> None:
    model, short = learned(), learned(max_position_embeddings=rows)
    short.load_state_dict({k: v for k, v in model.state_dict().items() if k not in TABLES}, strict=False)
    folder = save(model, tmp_path / "m")
    save_file({name: short.get_parameter(name).data.clone() for name in TABLES}, folder / POSITIONS)
    found = load(folder)
    assert found.config.max_position_embeddings == rows and torch.equal(logits(found), logits(short))
    found.config.max_position_embeddings = 30  # as a user leaves it who swaps the tables in memory
    again = save(found, tmp_path / "again")
    assert json.loads((again / "config.json").read_text())["max_position_embeddings"] == rows
    assert torch.equal(logits(load(again)), logits(short))
    small = shrink(found, random_kept(found, make_plan(found, "marian", couplings(found, ["ffn", "width"]))))
    assert torch.equal(logits(load(save(small, tmp_path / "p"))), logits(small))


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"model.encoder.embed_tokens.weight": torch.ones(40, 16)}, "no table of positions of this model"),
        ({TABLES[0]: torch.ones(30, 8)}, "is 30 x 8; the model's is 30 x 16"),
        ({TABLES[0]: torch.ones(12, 16)}, "different lengths"),
        ({TABLES[0]: torch.full((30, 16), float("nan"))}, "not finite"),
        (None, "cannot be read"),
    ],
)
def test_positions_that_are_not_the_models_are_named(tensors: Any, says: str, tmp_path: Path) -> None:
    folder = save(small_model("marian").float(), tmp_path / "m")
    (folder / POSITIONS).write_bytes(b"junk")
    if tensors is not None:
        save_file(tensors, folder / POSITIONS)
    with pytest.raises(InputError, match=f"{POSITIONS}.*{says}"):
        load(folder)


def test_tables_of_two_lengths_cannot_be_saved(tmp_path: Path) -> None:
    model = learned()
    model.model.decoder.embed_positions.weight.data = torch.ones(12, 16)
    with pytest.raises(InputError, match=r"different lengths \(encoder 30, decoder 12\)"):
        save(model, tmp_path / "m")
    assert not list(tmp_path.iterdir())


@torch.no_grad()
def test_the_graphs_have_them() -> None:
    model, batch = learned(), small_batch(2)
    expected = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], decoder_input_ids=batch["input_ids"]
    )
    cross = Encoder(model)(batch["input_ids"], batch["attention_mask"])
    past: Any = [torch.zeros(2, 2, 0, 8) for _ in range(6)]
    for step in range(4):
        token, place = batch["input_ids"][:, step : step + 1], torch.tensor([step])
        found, *past = DecoderStep(model)(token, place, batch["attention_mask"], cross, past)
        torch.testing.assert_close(found, expected.logits[:, step], rtol=0, atol=1e-5)


# --- a trained model ---

SMILES = (
    "CC(=O)Oc1ccccc1C(=O)O",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "C1CCCCC1N",
    "OCCO",
    "c1ccncc1Br",
)


@pytest.fixture
def annalog() -> Path:
    models = os.environ.get("TPRUNE_MODELS")
    if not models or not Path(models, "annalog-marian").is_dir():
        pytest.skip("TPRUNE_MODELS names no folder with annalog-marian")
    return Path(models, "annalog-marian")


def smiles_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    words = json.loads((folder / "vocab.json").read_text())
    backend = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token=words[0]))
    backend.pre_tokenizer = Split(Regex(r"\[[^\]]+\]|Br|Cl|%\d\d|."), "isolated")
    backend.post_processor = TemplateProcessing(
        single=f"{words[2]} $A {words[3]}", special_tokens=[(words[2], 2), (words[3], 3)]
    )
    backend.decoder = Fuse()
    backend.add_special_tokens(words[:4])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token=words[0], pad_token=words[1], bos_token=words[2], eos_token=words[3]
    )


@pytest.mark.slow
def test_a_trained_model_keeps_them_at_every_step(annalog: Path, tmp_path: Path) -> None:
    tokenizer = smiles_tokenizer(annalog)
    batch = tokenizer(list(SMILES), padding=True, return_tensors="pt")
    fed = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "decoder_input_ids": batch.input_ids}

    def said(model: Any) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = model.eval()(**fed).logits
            return found

    stock = AutoModelForSeq2SeqLM.from_pretrained(annalog, dtype=torch.float32)
    lost = said(stock)
    stock.load_state_dict(load_file(annalog / POSITIONS), strict=False)
    dense = load(annalog, dtype=torch.float32)
    torch.testing.assert_close(said(dense), said(stock), rtol=0, atol=1e-4)
    assert (said(dense) - lost).abs().max() > 1  # they matter
    dense.generation_config.max_length = 24  # long ones take minutes without a cache
    saved = save(dense, tmp_path / "dense", tokenizer)
    assert not (saved / POSITIONS).exists()
    again = load(saved)
    torch.testing.assert_close(said(again), said(stock), rtol=0, atol=1e-4)
    assert export(again, tokenizer, tmp_path / "onnx", SMILES[-2:]).max_relative_error < 1e-4
    pairs = Parallel(SMILES, SMILES)
    material = TrainingData.of(TRANSLATION, again, tokenizer, pairs, pairs, seed=0)
    plan = make_plan(again, "marian", couplings(again, ["ffn", "heads", "width"]))
    left = {"ffn": (400, 512), "heads": (6, 8), "width": (200, 256)}
    kinds = {e.coupling.name: e.coupling.kind for e in plan.entries if e.coupling.kind in left}
    kept = {name: torch.arange(left[kind][1]) < left[kind][0] for name, kind in kinds.items()}
    pruned, chosen = one_shot(again, plan.with_kept(kept, {}, {}), material.batches(material.train, 4))
    small = shrink(pruned, chosen)
    torch.testing.assert_close(said(load(save(small, tmp_path / "small", tokenizer))), said(small), rtol=0, atol=1e-4)
    assert export(load(tmp_path / "small"), tokenizer, tmp_path / "onnx", SMILES[-2:]).max_relative_error < 1e-4
    shutil.copy(annalog / POSITIONS, tmp_path / "small")
    with pytest.raises(InputError, match=rf"{POSITIONS}: .* is 102 x 256; the model's is 102 x 200"):
        load(tmp_path / "small")
