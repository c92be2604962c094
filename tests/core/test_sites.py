"""Sites: what files call a block, and back."""

import pytest

from small_models import small_model
from tprune.core.sites import Site, no_site, site_from_json, site_from_name
from tprune.families.registry import couplings


@pytest.mark.parametrize("family", ["marian", "bart"])
def test_names_of_older_files_stand_for_the_sites_that_the_family_gives(family: str) -> None:
    for coupling in couplings(small_model(family)):
        assert site_from_name(coupling.name) == coupling.site, coupling.name


@pytest.mark.parametrize("block", ["self_attention", "cross_attention", "feed_forward", "mixer"])
def test_a_block_is_found_by_the_name_that_files_give_it(block: str) -> None:
    site = Site("decoder", 12, block)
    assert site_from_name(site.name) == site
    assert site.reads_source == (block == "cross_attention")


@pytest.mark.parametrize(
    "name", ["", "ffn", "units", "transformer.h.3.attn.heads", "layers.x.ffn", "model.decoder.layers.1"]
)
def test_other_names_stand_for_no_site(name: str) -> None:
    assert site_from_name(name) is None


def test_the_whole_model_has_no_layer_and_no_stack() -> None:
    residual = Site("", None, "residual")
    assert residual.name == residual.place == "residual"
    assert site_from_json(["", None, "residual"]) == residual and site_from_json(None) is None


def test_a_missing_site_is_said_with_what_a_site_is() -> None:
    assert str(no_site("x7")).startswith(
        "x7: the coupling has no site (stack, layer and block, such as decoder, 2, cross_attention)"
    )
