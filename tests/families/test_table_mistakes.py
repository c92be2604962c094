"""Mistakes in a table of rows are found, those in the residual stream too."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertPreTrainedModel

from table_models import BERT as BERT_SIZES
from table_models import kept_by, kinds_of, outputs, table_model
from tprune.core.plan import make_plan
from tprune.core.sites import ENCODER, FEED_FORWARD, SELF_ATTENTION, Site
from tprune.families.attention import Attention, Reads
from tprune.families.bert import BERT
from tprune.families.feed_forward import FeedForward
from tprune.families.registry import couplings
from tprune.families.residual import Residual
from tprune.families.rows import Row
from tprune.families.table import Table
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import check_coupling, random_kept


def with_rows(change: Any) -> Table:
    return replace(BERT, rows=lambda model: [change(row) for row in BERT.rows(model)])


def attention(**changes: Any) -> Any:
    return lambda row: replace(row, **changes) if isinstance(row, Attention) else row


def residual(**changes: Any) -> Any:
    return lambda row: replace(row, **changes) if isinstance(row, Residual) else row


def one_head_more(row: Row) -> Row:
    return replace(row, heads=8, kv=8) if isinstance(row, Attention) else row


def other_output(row: Row) -> Row:
    if isinstance(row, FeedForward) and row.site.layer == 0:
        return replace(row, down=row.module.replace("intermediate", "attention.output.dense"))
    return row


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (one_head_more, r"attention\.self\.query\.weight has shape 24 x 24; its row expects 48 x any"),
        (attention(heads=4, kv=3), "4 heads cannot share 3 key-value heads evenly"),
        (attention(reads=Reads(dim="head_dim")), "no attribute 'head_dim'"),
        (other_output, r"attention\.output\.dense\.weight has shape 24 x 24; its row expects any x 20"),
        (attention(site=Site(ENCODER, 0, SELF_ATTENTION)), "two rows have the site"),
        (attention(module="encoder.none"), "names 'encoder.none', and the model has no such module"),
        (residual(norms=("pooler",)), "its row names 'pooler', which has no weight"),
        (residual(norms=("pooler.dense",)), r"pooler\.dense\.weight has shape 24 x 24; its row expects 24 "),
        (residual(writers=("encoder.layer.0.intermediate.dense",)), "has shape 20 x 24; its row expects 24 x any"),
        (residual(readers=("encoder.layer.0.output.dense",)), "has shape 24 x 20; its row expects any x 24"),
    ],
)
def test_rows_that_do_not_fit_are_named(change: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        with_rows(change).couplings(table_model("bert"))


def test_two_rows_for_one_module_are_refused() -> None:
    def twice(model: Any) -> list[Row]:
        first, *rest = BERT.rows(model)
        return [first, replace(first, site=Site(ENCODER, 9, SELF_ATTENTION)), *rest]

    with pytest.raises(InputError, match=r"outputs of encoder\.layer\.0\.attention\.self\.query are claimed twice, by"):
        replace(BERT, rows=twice).couplings(table_model("bert"))


def test_other_maps_than_linear_ones_are_refused() -> None:
    from transformers.pytorch_utils import Conv1D

    model = table_model("bert")
    model.encoder.layer[0].intermediate.dense = Conv1D(24, 24)
    with pytest.raises(
        InputError, match=r"'encoder\.layer\.0\.intermediate\.dense', which is a Conv1D; expected Linear"
    ):
        couplings(model)


@pytest.mark.parametrize(
    ("kind", "lost", "says"),
    [
        ("ffn", "intermediate.dense.bias", "still read"),
        ("heads", "value.bias", "still read"),
        ("qk", "query.bias", "still read"),
        ("vo", "value.bias", "still read"),
        ("ffn", "intermediate.dense.weight", "still read"),
    ],
)
@torch.no_grad()
def test_a_coupling_without_a_member_is_found(kind: str, lost: str, says: str) -> None:
    model = table_model("bert")
    coupling = couplings(model, [kind])[0]
    broken = replace(coupling, views=tuple(view for view in coupling.views if not view.param.endswith(lost)))
    assert len(broken.views) == len(coupling.views) - 1
    with pytest.raises(AssertionError, match=says):
        check_coupling(model, broken, outputs)
    plan = random_kept(model, make_plan(model, "bert", [broken]))
    with pytest.raises(InputError, match=r"has shape .*; its row expects"):
        shrink(model, plan)


class Halved(nn.Module):
    """Two readers of the same hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(4, 6), nn.GELU())
        self.down, self.other = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return torch.cat([self.down(y), self.other(y)], -1)


@torch.no_grad()
def test_a_forgotten_consumer_is_found() -> None:
    rows = [FeedForward(Site(ENCODER, 0, FEED_FORWARD), "block", ("block.0",), "down")]
    table = Table("halved", lambda model: isinstance(model, Halved), lambda model: rows)
    model = Halved().double()
    x = torch.randn(3, 4, dtype=torch.float64)
    with pytest.raises(AssertionError, match="producers are still read"):
        check_coupling(model, table.couplings(model)[0], lambda m: m(x))


# --- the residual stream ---


def test_norms_of_a_narrower_stream_divide_by_the_dense_width() -> None:
    for name, norm in (("bert", "embeddings.LayerNorm"), ("llama", "model.norm")):
        model = table_model(name)
        small = shrink(model, kept_by(model, ["width"])).get_submodule(norm)
        whole = model.get_submodule(norm).weight.shape[0]
        assert small.dense == whole and 0 < small.weight.shape[0] < whole


@pytest.mark.parametrize("lost", ["embeddings.LayerNorm.bias", "encoder.layer.1.output.dense.weight", "pooler.dense"])
@torch.no_grad()
def test_an_incomplete_residual_stream_is_found(lost: str) -> None:
    model = table_model("bert")
    (width,) = couplings(model, ["width"])
    broken = replace(width, views=tuple(view for view in width.views if lost not in view.param))
    assert len(broken.views) < len(width.views)
    plan = random_kept(model, make_plan(model, "bert", [broken]))
    with pytest.raises(InputError, match="its row expects"):
        shrink(model, plan)
    if (
        "LayerNorm" in lost
    ):  # what writes before a norm is silenced by it, and a reader that is left out is not perturbed
        with pytest.raises(AssertionError, match="still read"):
            check_coupling(model, broken, outputs, silent=False)


class Tagger(BertPreTrainedModel):
    """A user's own head, which reads the stream."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert, self.tags = BertModel(config), nn.Linear(config.hidden_size, 2)


def test_the_stream_stays_whole_where_other_heads_read_it() -> None:
    assert "width" in kinds_of(BertModel(BertConfig(**BERT_SIZES)))
    assert "width" not in kinds_of(Tagger(BertConfig(**BERT_SIZES)))
    model = table_model("bert")
    with pytest.raises(InputError, match="nothing is left of the residual width"):
        shrink(model, kept_by(model, ["width"], gone=["width"]))


def test_cross_attentions_are_refused() -> None:
    model = BertModel(BertConfig(**BERT_SIZES, is_decoder=True, add_cross_attention=True))
    with pytest.raises(InputError, match="has cross-attentions"):
        couplings(model)
