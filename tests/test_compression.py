"""`tprune.compress`: the whole in one call, and that training leaves models as they were."""

from dataclasses import replace
from typing import Any

import pytest
import torch

import tprune
from tprune.compression import plan_step
from tprune.costs import clock_step, confirm_step, select_step
from tprune.errors import InputError, NoisyMachineError, TpruneWarning, UnreachableError
from tprune.latency import LatencyTable, Price, Setting, Times
from tprune.material import Material
from tprune.plan import Plan
from tprune.reach import Reach
from tprune.realise.certificate import certify
from tprune.recipe import Analyze, Prune, Recover, Stage
from tprune.tasks.translation import MarianSize, new_model, train_tokenizer

PAIRS = tprune.Parallel(
    ("a cat sat", "a dog ran", "the cat ran far", "the dog sat") * 8, ("x y z", "x u", "v y u w", "v u z") * 8
)


def model_and_tokenizer(dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(PAIRS.source + PAIRS.target, 40, 16)
    return new_model(MarianSize(16, (1, 1), 2, 32, 40, 0.1, 16), len(tokenizer)).to(dtype), tokenizer


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("analyze", [None, Analyze(steps=2, tokens=64)])
def test_a_model_in_a_smaller_model_out(dtype: torch.dtype, analyze: Analyze | None) -> None:
    model, tokenizer = model_and_tokenizer(dtype)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    done = tprune.compress(
        model, tokenizer, PAIRS, PAIRS.head(8), analyze=analyze,
        prune=Prune(steps=3, warmup=1, tokens=64, macs=0.8), recover=Recover(steps=3, warmup=1, tokens=64),
    )  # fmt: skip
    assert done.certificate.forward <= 1e-5
    assert sum(p.numel() for p in done.model.parameters()) < sum(p.numel() for p in model.parameters())
    assert done.plan.selected and (done.analysis is None) == (analyze is None)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_a_teacher_can_teach_all_at_once() -> None:
    model, tokenizer = model_and_tokenizer()
    said: list[str] = []
    how = Recover(steps=3, warmup=1, tokens=64, distill=0.5, hidden=0.5, sequence=0.5, rewind=10)
    prune = Prune(steps=0, parameters=0.7, kinds=["ffn", "width"])
    done = tprune.compress(model, tokenizer, PAIRS, PAIRS.head(8), prune=prune, recover=how, report=said.append)
    assert done.model.get_input_embeddings().weight.shape[1] < 16
    assert "translated 0 of 32 training sentences" in said


def test_training_under_bf16_leaves_the_forward_pass_and_the_cache_as_they_were(tmp_path: Any) -> None:
    model, tokenizer = model_and_tokenizer()
    material = Material.of(model, tokenizer, PAIRS, PAIRS.head(8), precision="bf16")
    material.run(model, Stage(steps=2, warmup=1, tokens=64), tmp_path)
    assert model.config.use_cache is True
    logits = model.eval()(**material.batch()).logits
    assert logits.dtype == torch.float32
    how = Prune(steps=0, macs=0.8)
    plan = select_step(model, plan_step(model, how), how, None)
    assert certify(model, plan, tprune.shrink(model, plan), material.batch()).forward <= 1e-6


def test_a_bold_time_is_refused_before_the_table_is_measured() -> None:
    model, _ = model_and_tokenizer()
    timed: list[Plan] = []

    class Stopped:
        """A timer to which the smallest model takes 4 of the dense one's 12 milliseconds."""

        def times(self, plan: Plan, table: LatencyTable) -> Times:
            timed.append(plan)
            return Times(1.0, 0.3, 4.0)

    table = LatencyTable("0", Setting(), Times(2.0, 1.0, 12.0), 10.0, (), {}, 40_000_000)
    for target, floor, refused, looks in (
        ({"speedup": 1.9}, 0.1, False, 0), ({"speedup": 2.9}, 0.1, False, 1), ({"speedup": 4.0}, 0.1, True, 1),
        ({"speedup": 4.0}, 0.0, False, 1), ({"latency_ms": 0.001}, 0.0, True, 1), ({"memory_mb": 1.0}, 0.1, False, 0),
    ):  # fmt: skip
        how = Prune(steps=0, floor=floor, **target)
        timed.clear()
        check: Any = Reach(model, plan_step(model, how), how).look
        if refused:
            with pytest.raises(
                UnreachableError, match=r"with one group left in every coupling it takes 4 ms \(3.00x\)"
            ):
                check(Stopped(), table)
        else:
            check(Stopped(), table)
        assert len(timed) == looks and all(len(e.kept or ()) == 1 for plan in timed for e in plan.entries)

    class Restless:
        """A timer on a machine that is too busy to say."""

        def times(self, plan: Plan, table: LatencyTable) -> Times:
            raise NoisyMachineError("varies by 20%")

    how = Prune(steps=0, speedup=4.0)
    unsure: Any = Reach(model, plan_step(model, how), how)
    unsure.look(Restless(), table)


def test_a_budget_by_loss_needs_no_clock_for_sizes_and_a_confirmed_one_for_times() -> None:
    model, tokenizer = model_and_tokenizer()
    material = Material.of(model, tokenizer, PAIRS, PAIRS.head(8))
    how = Prune(steps=0, kinds=["ffn", "heads", "sublayer"], macs=0.7, budget="loss")
    plan = plan_step(model, how)
    clock = clock_step(model, tokenizer, plan, material, PAIRS.source, how, Setting())
    assert clock.table is None and len(clock.curves) == len(plan.entries)
    by_loss, alike = select_step(model, plan, how, None, clock), select_step(model, plan, how, None)
    assert by_loss.reached["macs"] <= by_loss.asked["macs"] == alike.asked["macs"]
    assert certify(model, by_loss, tprune.shrink(model, by_loss), material.batch()).forward <= 1e-5
    with pytest.raises(InputError, match="only a time can be confirmed, got macs"):
        confirm_step(model, tokenizer, plan, how, clock, PAIRS.source)
    timed = Prune(steps=0, kinds=["ffn", "heads", "sublayer"], speedup=1.2)
    for needs in (timed, Prune(steps=0, memory_mb=30.0)):
        with pytest.raises(InputError, match="needs a latency table of this machine"):
            select_step(model, plan, needs, None, clock)
    places = ("encoder.self_attn", "encoder.ffn", "decoder.self_attn", "decoder.encoder_attn", "decoder.ffn")
    prices = [Price(p, "ffn" if "ffn" in p else "heads", 0.2, 0.2) for p in places]
    prices += [Price(p, "sublayer", 0.05, 0.05) for p in places]
    table = LatencyTable("0", Setting(), Times(2.0, 1.0, 12.0), 10.0, (), {}, 40_000_000, tuple(prices))
    clock = replace(clock, table=table)

    def half(chosen: Plan) -> Times:
        added = table.predict_plan(chosen)
        return Times(1 + added.encoder / 2, 0.5 + added.token / 2, 6 + added.sentence / 2)

    found = confirm_step(model, tokenizer, plan, timed, clock, PAIRS.source, half)
    assert found.plan.asked == {"sentence_ms": 10.0} and found.measured.sentence <= 10.0 and found.tried == 2
    assert select_step(model, plan, timed, None, replace(clock, table=found.table)) == found.plan
    memory = select_step(model, plan, Prune(steps=0, memory_mb=39.995), None, clock)
    assert memory.reached["memory_mb"] <= 39.995


@pytest.mark.parametrize("target", [{"speedup": 1.5}, {"macs": 0.8, "sequence": 1.0}])
def test_what_a_runtime_cannot_do_is_said_before_it_is_asked(
    target: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = model_and_tokenizer()
    monkeypatch.setattr("tprune.compression.clock_step", None)  # nothing of the kind is begun
    model.generation_config.encoder_no_repeat_ngram_size = 3
    how = Prune(steps=1, warmup=1, tokens=64, **target)
    with pytest.raises(InputError, match="encoder_no_repeat_ngram_size is 3"):
        tprune.compress(model, tokenizer, PAIRS, PAIRS.head(8), prune=how, recover=Recover(steps=1, tokens=64))


def test_a_limit_that_nobody_chose_is_warned_of() -> None:
    model, tokenizer = model_and_tokenizer()
    model.generation_config.max_length = None
    how = Prune(steps=1, warmup=1, tokens=64, macs=0.8)
    with pytest.warns(TpruneWarning, match="ends after 20 tokens"):
        tprune.compress(model, tokenizer, PAIRS, PAIRS.head(8), prune=how, recover=Recover(steps=0))
