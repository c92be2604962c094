"""The interface carries other architectures: tables written here, by hand, and modules cut by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)

from tprune.core.coupling import Coupling, Role, bias, consumer, groups_of, producer, tensors_of
from tprune.core.cuts import cuts_of
from tprune.core.plan import Plan, make_plan
from tprune.realise.mask import masked
from tprune.testing import check_coupling, randomise_

IDS = torch.tensor([[5, 3, 8, 1, 9, 4], [2, 7, 7, 0, 0, 0]])
SEEN = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
Run = Callable[[Any], Tensor]


def logits(model: Any) -> Tensor:
    found: Tensor = model(input_ids=IDS, attention_mask=SEEN).logits[SEEN.bool()]
    return found


def random_double(model: Any) -> Any:
    model = model.double().eval()
    randomise_(model)
    return model


def plan_of(model: nn.Module, table: Sequence[Coupling], kept: Sequence[Sequence[int]]) -> Plan:
    plan = make_plan(model, "by hand", table)
    masks = {}
    for entry, indices in zip(plan.entries, kept, strict=True):
        masks[entry.coupling.name] = torch.zeros(entry.groups, dtype=torch.bool)
        masks[entry.coupling.name].view(-1)[list(indices)] = True
    selected = plan.with_kept(masks, {}, {})
    assert Plan.from_json(selected.to_json()) == selected
    return selected


def check_norms(model: nn.Module, coupling: Coupling) -> None:
    """Norms and sizes, element by element in plain Python."""
    tensors = tensors_of(model)
    members: dict[tuple[int, int, int], float] = {}
    for view in coupling.views:
        if view.role is Role.BIAS:
            continue
        tensor = tensors[view.param]
        start, stop = view.rows or (0, len(tensor))
        index = view.structure.layout((stop - start, *tensor.shape[1:])).index()
        values = tensor[start:stop].detach().reshape(stop - start, -1)
        for row, groups in enumerate(index.reshape(stop - start, -1).tolist()):
            for column, group in enumerate(groups):
                members[group, id(tensor), (start + row) * values.shape[1] + column] = float(values[row, column])
    groups = groups_of(coupling, tensors)
    for group, (norm, size) in enumerate(
        zip(groups.norms.flatten().tolist(), groups.sizes.flatten().tolist(), strict=True)
    ):
        own = [value for (g, *_), value in members.items() if g == group]
        assert len(own) == size
        assert norm == pytest.approx(sum(v * v for v in own) ** 0.5, rel=1e-12)


@torch.no_grad()
def check_cut(model: Any, plan: Plan, small: Any, run: Run) -> None:
    """Every tensor of the smaller module comes from the cut, and it does what the masked model does."""
    cuts = cuts_of(model, plan)
    small = small.double().eval()
    state = {name: cuts.slice(name, tensor) for name, tensor in model.state_dict().items()}
    small.load_state_dict(state, strict=True)
    expected, got = run(masked(model, plan)), run(small)
    assert float((expected - got).abs().max() / expected.abs().max()) < 1e-10
    dense = run(model)
    assert float((expected - dense).abs().max() / dense.abs().max()) > 1e-4  # the cut is no trifle


def check_table(model: Any, table: Sequence[Coupling], run: Run) -> None:
    for coupling in table:
        check_norms(model, coupling)
        check_coupling(model, coupling, run)


# --- Llama: grouped queries, gated FFN ---


def llama(kv: int = 3, ffn: int = 10) -> Any:
    config = LlamaConfig(
        vocab_size=11,
        hidden_size=12,
        intermediate_size=ffn,
        num_hidden_layers=2,
        num_attention_heads=2 * kv,
        num_key_value_heads=kv,
        head_dim=4,
        max_position_embeddings=16,
        attention_bias=True,
        mlp_bias=True,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def llama_table(layer: int, kv: int = 3) -> list[Coupling]:
    a, m = f"model.layers.{layer}.self_attn", f"model.layers.{layer}.mlp"
    sizes = {"k": kv, "r": 2}
    return [
        Coupling(
            f"{a}.groups",
            (
                producer(f"{a}.q_proj.weight", "(k r d) i -> k", **sizes),
                bias(f"{a}.q_proj.bias", "(k r d) -> k", **sizes),
                producer(f"{a}.k_proj.weight", "(k d) i -> k", k=kv),
                bias(f"{a}.k_proj.bias", "(k d) -> k", k=kv),
                producer(f"{a}.v_proj.weight", "(k d) i -> k", k=kv),
                bias(f"{a}.v_proj.bias", "(k d) -> k", k=kv),
                consumer(f"{a}.o_proj.weight", "o (k r d) -> k", **sizes),
            ),
        ),
        Coupling(
            f"{m}.ffn",
            (
                producer(f"{m}.gate_proj.weight", "u i -> u"),
                bias(f"{m}.gate_proj.bias", "u -> u"),
                producer(f"{m}.up_proj.weight", "u i -> u"),
                bias(f"{m}.up_proj.bias", "u -> u"),
                consumer(f"{m}.down_proj.weight", "o u -> u"),
            ),
        ),
    ]


def test_llama_loses_grouped_query_heads_and_gated_units() -> None:
    model = random_double(llama())
    table = llama_table(0) + llama_table(1)
    check_table(model, table, logits)
    plan = plan_of(model, table, [[0, 2], [1, 2, 5, 7], [1, 2], [0, 3, 4, 9]])
    check_cut(model, plan, llama(kv=2, ffn=4), logits)


def test_gated_units_without_their_gate_or_reader_are_found() -> None:
    model = random_double(llama())
    whole = llama_table(0)[1]

    def without(part: str) -> Coupling:
        return Coupling("broken", tuple(view for view in whole.views if part not in view.param))

    with pytest.raises(RuntimeError, match="gate_proj"):  # up alone silences the product, but does not fit the gate
        check_cut(model, plan_of(model, [without("gate_proj")], [[1, 2, 5, 7]]), llama(ffn=4), logits)
    with pytest.raises(RuntimeError, match="down_proj"):
        check_cut(model, plan_of(model, [without("down_proj")], [[1, 2, 5, 7]]), llama(ffn=4), logits)
    open_bias = Coupling("broken", tuple(view for view in without("gate_proj").views if view.role is not Role.BIAS))
    with pytest.raises(AssertionError, match="still read"):
        check_coupling(model, open_bias, logits)


# --- GPT-NeoX: interleaved fused projection ---


def neox(heads: int = 4) -> Any:
    config = GPTNeoXConfig(
        vocab_size=11,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=8,
        max_position_embeddings=16,
        pad_token_id=0,
    )
    model = GPTNeoXForCausalLM(config)
    if heads != 4:  # stock GPT-NeoX ties the heads' total width to the residual's
        for layer in model.gpt_neox.layers:
            layer.attention.query_key_value = nn.Linear(16, 12 * heads)
            layer.attention.dense = nn.Linear(4 * heads, 16)
    return model


def test_gpt_neox_loses_heads_of_a_fused_interleaved_projection() -> None:
    model = random_double(neox())
    a = "gpt_neox.layers.0.attention"
    table = [
        Coupling(
            f"{a}.heads",
            (
                producer(f"{a}.query_key_value.weight", "(h three d) i -> h", h=4, three=3),
                bias(f"{a}.query_key_value.bias", "(h three d) -> h", h=4, three=3),
                consumer(f"{a}.dense.weight", "o (h d) -> h", h=4),
            ),
        )
    ]
    check_table(model, table, logits)
    check_cut(model, plan_of(model, table, [[0, 3]]), neox(heads=2), logits)
    wrong = Coupling(
        "not interleaved",
        (
            producer(f"{a}.query_key_value.weight", "(three h d) i -> h", h=4, three=3),
            bias(f"{a}.query_key_value.bias", "(three h d) -> h", h=4, three=3),
            consumer(f"{a}.dense.weight", "o (h d) -> h", h=4),
        ),
    )
    with pytest.raises(AssertionError, match="still read"):
        check_coupling(model, wrong, logits)


# --- Phi-3: slices of unequal sizes in one tensor ---


def phi3(kv: int = 2, ffn: int = 6) -> Any:
    config = Phi3Config(
        vocab_size=11,
        hidden_size=16,
        intermediate_size=ffn,
        num_hidden_layers=1,
        num_attention_heads=2 * kv,
        num_key_value_heads=kv,
        max_position_embeddings=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    config.head_dim = 4
    return Phi3ForCausalLM(config)


def test_phi3_loses_parts_of_fused_projections() -> None:
    model = random_double(phi3())
    a, m = "model.layers.0.self_attn", "model.layers.0.mlp"
    q, k, v = slice(0, 16), slice(16, 24), slice(24, 32)
    table = [
        Coupling(
            f"{a}.groups",
            (
                producer(f"{a}.qkv_proj.weight", "(k r d) i -> k", part=q, k=2, r=2),
                producer(f"{a}.qkv_proj.weight", "(k d) i -> k", part=k, k=2),
                producer(f"{a}.qkv_proj.weight", "(k d) i -> k", part=v, k=2),
                consumer(f"{a}.o_proj.weight", "o (k r d) -> k", k=2, r=2),
            ),
        ),
        Coupling(
            f"{m}.ffn",
            (
                producer(f"{m}.gate_up_proj.weight", "u i -> u", part=slice(None, 6)),
                producer(f"{m}.gate_up_proj.weight", "u i -> u", part=slice(6, 12)),
                consumer(f"{m}.down_proj.weight", "o u -> u"),
            ),
        ),
    ]
    assert tuple(model.get_parameter(f"{a}.qkv_proj.weight").shape) == (32, 16)
    check_table(model, table, logits)
    check_cut(model, plan_of(model, table, [[1], [0, 2, 3]]), phi3(kv=1, ffn=3), logits)


# --- a recurrent cell: the hidden index stands on both axes of one matrix ---


class Recurrent(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, hidden)
        self.out = nn.Linear(hidden, 2)
        self.hidden = hidden

    def forward(self, x: Tensor) -> Tensor:
        state, found = x.new_zeros(x.shape[1], self.hidden), []
        for step in x:
            state = self.cell(step, state)
            found.append(self.out(state))
        return torch.stack(found)


def test_a_gru_loses_hidden_units_on_both_axes_of_its_matrix() -> None:
    model = random_double(Recurrent(5))
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    coupling = Coupling(
        "cell.hidden",
        (
            producer("cell.weight_ih", "(three u) i -> u", three=3),
            producer("cell.weight_hh", "(three u) i -> u", three=3),
            bias("cell.bias_ih", "(three u) -> u", three=3),
            bias("cell.bias_hh", "(three u) -> u", three=3),
            consumer("cell.weight_hh", "o u -> u"),
            consumer("out.weight", "o u -> u"),
        ),
    )
    sizes = groups_of(coupling, tensors_of(model)).sizes
    # weight_ih 3·3, rows of weight_hh 3·5, its column 15 less the 3 counted as rows, out 2
    assert sizes.tolist() == [9 + 15 + 12 + 2] * 5
    check_table(model, [coupling], lambda m: m(x))
    check_cut(model, plan_of(model, [coupling], [[0, 2, 4]]), Recurrent(3), lambda m: m(x))


# --- a residual convolution block: the running statistics are members too ---


class Block(nn.Module):
    def __init__(self, filters: int) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(3, filters, 3, padding=1), nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(nn.functional.gelu(self.norm(self.conv1(x))))


def block_table(lost: str = "none") -> Coupling:
    views = (
        producer("conv1.weight", "f i y x -> f"),
        bias("conv1.bias", "f -> f"),
        bias("norm.weight", "f -> f"),
        bias("norm.bias", "f -> f"),
        bias("norm.running_mean", "f -> f"),
        bias("norm.running_var", "f -> f"),
        consumer("conv2.weight", "o f y x -> f"),
    )
    return Coupling("filters", tuple(view for view in views if view.param != lost))


def test_a_residual_block_loses_filters_with_their_running_statistics() -> None:
    model = random_double(Block(6))
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    check_table(model, [block_table()], lambda m: m(x))
    check_cut(model, plan_of(model, [block_table()], [[1, 2, 5]]), Block(3), lambda m: m(x))
    with pytest.raises(AssertionError, match="still read"):
        check_coupling(model, block_table("norm.bias"), lambda m: m(x))
    broken = plan_of(model, [block_table("norm.running_var")], [[1, 2, 5]])
    with pytest.raises(RuntimeError, match=r"running_var"):
        check_cut(model, broken, Block(3), lambda m: m(x))
