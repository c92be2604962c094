"""The plans that a latency table times: smaller models, each another, of what is asked for alone."""

from typing import Any

import pytest

from other_tasks import small
from small_models import small_model
from text_writers import writer
from tprune.core.sublayers import drops_source, sublayers_of, width_of
from tprune.costs.latency.design import plans_for
from tprune.costs.latency.table import kept_fractions
from tprune.realise.shrink import shrink

ATTENTIONS = ("encoder.self_attn", "decoder.self_attn", "decoder.encoder_attn")
PLACES = (*ATTENTIONS, "encoder.ffn", "decoder.ffn")
EVERYTHING = ("ffn", "heads", "qk", "vo", "sublayer", "width")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["marian", "bart"])
def test_every_plan_makes_a_smaller_model_of_its_own(family: str) -> None:
    model: Any = small_model(family)
    dense = sum(p.numel() for p in model.parameters())
    found = list(plans_for(model, EVERYTHING))
    assert 18 <= len(found) <= 22
    assert len({str((kept_fractions(plan), width_of(plan))) for plan in found}) == len(found)
    for plan in found:
        assert sum(p.numel() for p in shrink(model, plan).parameters()) < dense
        assert not drops_source(plan, model.config.decoder_layers)
    assert {width_of(plan) for plan in found} > {1.0, 0.5}
    removed = {s.place for plan in found for s in sublayers_of(plan) if kept_fractions(plan)[s.site]["sublayer"] == 0}
    assert removed == set(PLACES)
    again = [(kept_fractions(plan), width_of(plan)) for plan in plans_for(model, EVERYTHING)]
    assert again == [(kept_fractions(plan), width_of(plan)) for plan in found]


def test_attentions_that_others_need_stay() -> None:
    model = writer("t5", 40)
    removed = set()
    for plan in plans_for(model, EVERYTHING):
        kept = kept_fractions(plan)
        first = [mine for site, mine in kept.items() if (site.layer, site.block) == (0, "self_attention")]
        assert len(first) == 2 and all("sublayer" not in mine and min(mine.values()) > 0 for mine in first)
        removed |= {(site.stack, site.block) for site, mine in kept.items() if mine.get("sublayer") == 0}
    assert {("encoder", "self_attention"), ("decoder", "self_attention"), ("decoder", "cross_attention")} <= removed


def test_only_what_is_asked_for_is_cut() -> None:
    model: Any = small_model("marian")

    def cut(*kinds: str, removal: bool = False) -> set[tuple[str, str]]:
        shares = [kept_fractions(plan) for plan in plans_for(model, kinds, removal)]
        return {
            (site.place, kind) for each in shares for site, mine in each.items() for kind, x in mine.items() if x < 1
        }

    assert cut("qk") == {(place, "qk") for place in ATTENTIONS}
    assert {kind for _, kind in cut("ffn", removal=True)} == {"ffn", "sublayer"}
    assert cut("sublayer") == {(place, "sublayer") for place in PLACES}
    assert not list(plans_for(model, ()))
    assert not cut("width") and {width_of(plan) for plan in plans_for(model, ("width",))} <= {0.5, 0.75, 0.625, 0.875}


def test_even_kinds_are_cut_alike_in_all_blocks_of_a_stack() -> None:
    model: Any = small_model("marian", decoder_attention_heads=4)
    for plan in plans_for(model, ("ffn", "heads"), even=("heads",)):
        shares = kept_fractions(plan)
        for stack in ("encoder", "decoder"):
            assert len({each["heads"] for site, each in shares.items() if site.stack == stack and "heads" in each}) == 1


def test_coarse_plans_are_fewer_and_two_of_them_have_the_same_encoder() -> None:
    """What an encoder's graph holds: its own sublayers, and what makes keys and values of the source."""
    model: Any = small_model("marian")
    found = [kept_fractions(plan) for plan in plans_for(model, ("ffn", "heads"), removal=False, coarse=True)]
    beside = [str({s: x for s, x in each.items() if s.stack == "encoder" or s.reads_source}) for each in found]
    assert len(found) == 8 and len({str(each) for each in found}) == 8
    assert beside[::2] == beside[1::2] and len(set(beside)) == 4
    bert = plans_for(small("bert-classifier"), ("ffn", "heads"), removal=False, coarse=True)
    assert len({str(kept_fractions(plan)) for plan in bert}) > 4  # one graph holds all of it
