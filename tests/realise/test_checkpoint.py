import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from small_models import small_batch, small_model
from tprune.core.coupling import tensors_of
from tprune.core.plan import Plan, make_plan
from tprune.families.registry import couplings
from tprune.realise.certificate import certify
from tprune.realise.checkpoint import load, load_tokenizer, save
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.support.plugins import trusting
from tprune.tasks.translation.encoding import train_tokenizer
from tprune.testing import random_kept

SENTENCES = ["a cat sat on the mat", "two dogs play in the snow", "the old man reads a paper", "ein Hund läuft"]


@pytest.fixture(scope="session")
def words() -> PreTrainedTokenizerFast:
    return train_tokenizer(SENTENCES, vocabulary=40, max_length=24)


def pruned(family: str = "marian", *kinds: str) -> tuple[Any, Plan, Any]:
    model = small_model(family).float()
    plan = random_kept(model, make_plan(model, family, couplings(model, kinds or None)))
    return model, plan, shrink(model, plan)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def generate(model: Any) -> torch.Tensor:
    source = {key: small_batch()[key] for key in ("input_ids", "attention_mask")}
    found: torch.Tensor = model.generate(**source, num_beams=3, min_new_tokens=5, max_new_tokens=10, do_sample=False)
    return found


@pytest.mark.parametrize("family", ["marian", "marian_untied", "bart", "bart_untied"])
@pytest.mark.parametrize("kinds", [("ffn", "heads", "qk", "vo", "sublayer", "width", "lines"), ("ffn",)])
def test_a_pruned_model_comes_back_bit_for_bit(family: str, kinds: tuple[str, ...], tmp_path: Path) -> None:
    _, _, small = pruned(family, *kinds)
    again = load(save(small, tmp_path / "m"))
    assert type(again) is type(small) and not again.training
    before, after = tensors_of(small), tensors_of(again)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(again(**small_batch()).logits, small(**small_batch()).logits)
    assert torch.equal(generate(again), generate(small))
    assert len({id(t) for t in after.values()}) == len({id(t) for t in before.values()})


def test_a_stock_model_comes_back(tmp_path: Path) -> None:
    model = small_model("bart").float()
    again = load(save(model, tmp_path / "m"))
    assert type(again) is type(model) and torch.equal(again(**small_batch()).logits, model(**small_batch()).logits)
    assert not list((tmp_path / "m").glob("*.py"))


def test_what_is_learned_stays_learned_and_nothing_else(tmp_path: Path) -> None:
    model = small_model("marian")
    back = load(save(model, tmp_path / "m"))
    learned = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name, p in back.named_parameters() if p.requires_grad} == learned
    assert not any("embed_positions" in name for name in learned)
    pruned = shrink(
        model,
        make_plan(model, "marian", couplings(model, ["width"])).with_kept({"width": torch.arange(16) < 12}, {}, {}),
    )
    again = load(save(pruned, tmp_path / "p"))
    for small in (pruned, again):
        assert not any("embed_positions" in name for name, p in small.named_parameters() if p.requires_grad)


def test_everything_beside_the_weights_stays(words: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model, plan, small = pruned("marian", "ffn", "heads")
    small.generation_config.update(num_beams=4, max_length=17, bad_words_ids=[[0]])
    certificate = certify(model, plan, small, small_batch(), steps=5)
    out = save(small, tmp_path / "deep" / "m", words, plan, certificate)
    assert {path.suffix for path in out.iterdir()} <= {".json", ".safetensors", ".py"}
    again, tokenizer = load(out), load_tokenizer(out)
    assert again.generation_config.to_diff_dict() == small.generation_config.to_diff_dict()
    for special in ("pad_token_id", "eos_token_id", "unk_token_id"):
        assert getattr(tokenizer, special) == getattr(words, special)
    assert tokenizer.get_vocab() == words.get_vocab() and tokenizer.model_max_length == words.model_max_length
    assert [tokenizer(s).input_ids for s in SENTENCES] == [words(s).input_ids for s in SENTENCES]
    assert Plan.load(out / "plan.json") == plan
    assert json.loads((out / "certificate.json").read_text()) == certificate.to_dict()
    assert "/" not in json.loads((out / "config.json").read_text()).get("_name_or_path", "")


READ = """
import sys, torch
sys.modules["tprune"] = None  # importing it fails
from transformers import AutoModelForSeq2SeqLM
torch.set_num_threads(1)
for folder in sys.argv[1:]:
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, trust_remote_code=True).eval()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()  # aligned memory, as in the saving process
    batch = torch.load(folder + ".in")
    source = {key: batch[key] for key in ("input_ids", "attention_mask")}
    tokens = model.generate(**source, num_beams=3, min_new_tokens=5, max_new_tokens=10, do_sample=False)
    torch.save({"logits": model(**batch).logits, "tokens": tokens, "state": model.state_dict()}, folder + ".out")
"""


@pytest.mark.slow
def test_a_fresh_process_without_tprune_reads_it(tmp_path: Path) -> None:
    small = {str(tmp_path / family): pruned(family)[2] for family in ("marian", "marian_untied", "bart")}
    for folder, model in small.items():
        save(model, folder)
        torch.save(small_batch(), f"{folder}.in")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(tmp_path / "modules"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READ, *small], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for folder, model in small.items():
        read, state = torch.load(f"{folder}.out"), model.state_dict()
        assert read["state"].keys() == state.keys()
        assert all(torch.equal(read["state"][name], state[name]) for name in state)
        assert torch.equal(read["logits"], model(**small_batch()).logits)
        assert torch.equal(read["tokens"], generate(model))


# --- damaged, missing, in the way ---


@pytest.fixture(scope="session")
def saved_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(pruned()[2], tmp_path_factory.mktemp("saved") / "m")


@pytest.fixture
def saved(saved_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved_once, tmp_path / "m"))


def truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def garble(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)


def set_config(**values: Any) -> Any:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return change


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncate, "cannot be loaded"),
        (garble, "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "config.json").unlink(), "no model here"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json: cannot be read"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json: holds list"),
        (set_config(pruned=None), "cannot be loaded|do not fit"),
        (set_config(pruned={"width": 3}), "cannot be loaded|do not fit"),
        (set_config(pruned={"ffn": {"model.nowhere": 3}}), "cannot be loaded"),
        (set_config(decoder_layers=2), "cannot be loaded|do not fit"),
        (set_config(encoder_layers=3), "cannot be loaded|do not fit"),
        (set_config(model_type="nothing"), "code of its own"),
        (set_config(model_type="nothing", auto_map=None), "supported families are"),
    ],
)
def test_damaged_folders_are_input_errors(damage: Any, says: str, saved: Path) -> None:
    damage(saved)
    with pytest.raises(InputError, match=says) as error:
        load(saved)
    assert str(saved) in str(error.value)


def test_missing_folders_and_unknown_ids_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such directory"):
        load(tmp_path / "nothing")
    with pytest.raises(InputError, match="nobody/nothing: cannot be loaded"):
        load("nobody/nothing", offline=True)
    with pytest.raises(InputError, match="no tokeniser"):
        load_tokenizer(tmp_path)


def test_neither_files_nor_foreign_folders_are_replaced(tmp_path: Path) -> None:
    small = pruned("marian", "ffn")[2]
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("mine")
    before = contents(tmp_path)
    for name in ("file", "folder"):
        with pytest.raises(InputError, match=f"{name} exists and holds no model"):
            save(small, tmp_path / name)
    assert contents(tmp_path) == before
    (tmp_path / "empty").mkdir()
    assert (save(small, tmp_path / "empty") / "config.json").exists()


def _full(folder: Path, **_: Any) -> None:
    (Path(folder) / "model.safetensors").write_bytes(b"half")
    raise OSError("No space left on device")


def test_a_failing_save_leaves_the_old_model(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, model = contents(saved.parent), load(saved)
    monkeypatch.setattr(model, "save_pretrained", _full)
    with pytest.raises(OSError, match="No space"):
        save(model, saved)
    assert contents(saved.parent) == before
    assert [path.name for path in saved.parent.iterdir()] == ["m"]


def test_a_failing_move_puts_the_old_model_back(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, rename = contents(saved.parent), Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self.name.endswith("new"):
            raise OSError("cannot move")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="cannot move"):
        save(small_model("marian"), saved)
    assert contents(saved.parent) == before


def test_a_save_replaces_the_old_model_whole(saved: Path) -> None:
    shutil.copy(saved / "config.json", saved / "left_over.json")
    save(small_model("marian"), saved)
    assert not (saved / "left_over.json").exists() and not list(saved.glob("*.py"))
    assert [path.name for path in saved.parent.iterdir()] == ["m"]


def test_others_may_read_the_folder(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        out = save(small_model("marian"), tmp_path / "m")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o644}


OWN_CODE = """
from pathlib import Path
from transformers import MarianMTModel

Path(__file__).with_name("it_ran").touch()
Path({ran!r}).touch()


class Own(MarianMTModel):
    pass
"""


def test_code_that_a_model_brings_runs_only_when_trusted(
    words: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folder, ran = save(small_model("marian").float(), tmp_path / "own", words), tmp_path / "it_ran"
    (folder / "modeling_own.py").write_text(OWN_CODE.format(ran=str(ran)))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "auto_map": {"AutoModelForSeq2SeqLM": "modeling_own.Own"}})
    )
    with pytest.raises(InputError, match=r"code of its own \(modeling_own.Own\).*--trust-remote-code"):
        load(folder)
    assert not ran.exists()
    with trusting():
        model, tokenizer = load(folder), load_tokenizer(folder)
    assert ran.exists() and type(model).__name__ == "Own" and len(tokenizer) == len(words)
    ran.unlink()
    with pytest.raises(InputError, match="trust_remote_code=True"):
        load(folder)  # the trust was for once
    plan = random_kept(model, make_plan(model, "marian", couplings(model)))
    again = load(save(shrink(model, plan), tmp_path / "small", tokenizer, plan))  # ordinary, and without that code
    assert type(again).__name__ == "PrunedMarianMTModel" and "modeling_own" not in str(contents(tmp_path / "small"))
    assert type(load(folder, trust_remote_code=True)).__name__ == "Own"
