"""inspect --propose."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, Starcoder2Config, Starcoder2ForCausalLM

from tprune.cli.propose import _of_whole, proposed_text
from tprune.core.sites import Site
from tprune.families.feed_forward import FeedForward
from tprune.families.registry import FAMILIES
from tprune.families.table import Table
from tprune.propose.proposal import Proposal
from tprune.support.errors import InputError

Call = Callable[..., tuple[int, str, str]]
STAR = Starcoder2Config(
    vocab_size=60,
    hidden_size=24,
    num_hidden_layers=6,
    num_attention_heads=6,
    num_key_value_heads=2,
    intermediate_size=20,
    max_position_embeddings=30,
    bos_token_id=1,
    eos_token_id=2,
)


def test_what_cannot_be_proposed_is_said(tprune: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, architecture in (("bert", "BertModel"), ("mine", "MyNet")):
        BertConfig(architectures=[architecture]).save_pretrained(tmp_path / name)
    code, _, said = tprune("inspect", "bert", "--propose")
    assert code == 1 and "the family 'bert' has a table for BertModel; leave out --propose" in said
    code, _, said = tprune("inspect", "mine", "--propose")
    assert (
        code == 1 and "'MyNet', is no class of transformers" in said and "tprune.propose_family(model, inputs)" in said
    )
    for wrong, says in (
        (["--propose", "--check"], "leave out --kind and --check"),
        (["--out", "x.py"], "--out is the file that --propose writes; add --propose"),
    ):
        code, _, said = tprune("inspect", "bert", *wrong)
        assert code == 2 and says in said
    BertConfig().save_pretrained(tmp_path / "none")
    code, _, said = tprune("inspect", "none", "--propose")
    assert code == 1 and "config.json names no architecture" in said and "'none'" not in said
    STAR.architectures = ["Starcoder2ForCausalLM"]
    STAR.save_pretrained(tmp_path / "star")
    (tmp_path / "starcoder2_family.py").write_text("mine")
    code, _, said = tprune("inspect", "star", "--propose")
    assert code == 1 and "starcoder2_family.py exists and is not replaced" in said
    assert (tmp_path / "starcoder2_family.py").read_text() == "mine"
    monkeypatch.setattr("tprune.cli.propose.propose_family", None)  # nothing is verified before the name is
    for wrong, says in (("my-file.py", "expected the name of a Python module"), ("no/x.py", "there is no folder")):
        code, _, said = tprune("inspect", "star", "--propose", "--out", wrong)
        assert code == 1 and says in said, said


def test_a_table_that_fits_the_small_copy_alone_is_refused() -> None:
    site, mlp = Site("decoder", 0, "feed_forward"), "model.layers.5.mlp"
    for fits in (True, False):
        rows = [FeedForward(site, mlp, (f"{mlp}.c_fc",), f"{mlp}.c_proj" if fits else f"{mlp}.c_fc")]
        table = Table("starcoder2", lambda model: True, lambda model, rows=rows: rows)  # type: ignore[misc]
        found = Proposal("starcoder2", "", table, {"ffn": 9}, ())
        if fits:
            assert _of_whole("star", found, Starcoder2ForCausalLM, STAR) == ({"ffn": 1}, "")
            continue
        with pytest.raises(InputError, match="star: the table of a small copy of it does not fit the model itself"):
            _of_whole("star", found, Starcoder2ForCausalLM, STAR)


def test_a_model_that_cannot_be_built_without_weights_is_said_to_be_unknown() -> None:
    class Looking(Starcoder2ForCausalLM):
        def __init__(self, config: Starcoder2Config) -> None:
            super().__init__(config)
            float(self.lm_head.weight.sum())

    table = Table("starcoder2", lambda model: True, lambda model: [])
    kinds, why = _of_whole("star", Proposal("starcoder2", "", table, {"ffn": 9}, ()), Looking, STAR)
    assert kinds is None and "meta" in why
    found = {"file": "a.py", "verified": {"ffn": 9}, "kinds": kinds, "unbuilt": why, "left_out": []}
    said = proposed_text(found)
    assert "verified on a small copy, by perturbing and cutting them: 9 ffn" in said
    assert f"cannot be built without its weights ({why}), so whether the table fits it is not known" in said


@pytest.mark.slow
def test_the_command_writes_a_file_that_the_commands_read(tprune: Call, tmp_path: Path) -> None:
    torch.manual_seed(0)
    Starcoder2ForCausalLM(STAR).save_pretrained(tmp_path / "star")
    code, _, said = tprune("inspect", tmp_path / "star")
    assert code == 1 and "--propose" in said
    code, out, _ = tprune("inspect", tmp_path / "star", "--propose", "--out", "mine.py")
    assert (
        code == 0
        and "verified on a small copy" in out
        and "2 heads" in out
        and "6 heads" in out
        and "use it with --plugin mine.py" in out
    )
    try:
        code, out, said = tprune("inspect", tmp_path / "star", "--plugin", "mine.py", "--check")
        assert code == 0 and "nothing else reads what would be cut" in out, said
    finally:
        FAMILIES.entered.clear()
    code, out, _ = tprune("inspect", "star", "--propose", "--out", "again.py", "--json")
    assert code == 0
    assert json.loads(out)["kinds"]["ffn"] == 6 and json.loads(out)["verified"]["ffn"] == 2
