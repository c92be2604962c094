"""The drawing of models with other stacks than an encoder and a decoder."""

from __future__ import annotations

from table_models import kept_by, table_model
from tprune.report.drawing import drawing


def test_the_blocks_of_a_plan_are_drawn_layer_by_layer() -> None:
    model = table_model("bert-classifier")
    plan = kept_by(model, ["heads", "qk", "vo", "ffn"])
    (stack,) = drawing(plan, model.config.to_dict())
    assert [block.label for block in stack.blocks] == [
        f"{layer} {part}" for layer in (1, 2, 3) for part in ("self-attention", "feed-forward")
    ]
    kept = {entry.coupling.name: entry.keep for entry in plan.entries if entry.coupling.kind in ("heads", "ffn")}
    units = list(kept.values())
    heads = units[0]
    assert stack.blocks[0].says.startswith(f"{int(heads.sum())} of {heads.numel()} heads")
    assert len(units) == len(stack.blocks) and all(block.cells for block in stack.blocks)


def test_channels_are_drawn_as_units_are() -> None:
    plan = kept_by(table_model("resnet"), ["channels"])
    stacks = drawing(plan, {})
    assert len(stacks) == 3 and all(len(stack.blocks) == 2 for stack in stacks)
    first = plan.entries[0].keep
    assert stacks[0].blocks[0].says == f"{int(first.sum()):,} of {first.numel():,} channels"
