"""`tprune.compress`: the whole in one call, and that training leaves models as they were."""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tprune
from sentence_times import sentence_times
from small_pairs import PAIRS, model_and_tokenizer
from tprune.budget.dense_timing import DenseTiming
from tprune.budget.evidence import gather_evidence, select_plan, verify_latency
from tprune.budget.reach import Feasibility
from tprune.core.plan import Plan
from tprune.costs.latency.phases import Times
from tprune.costs.latency.table import LatencyTable, Price, TimingConfig
from tprune.counting.size import size
from tprune.realise.certificate import certify
from tprune.recipe.changes import BUILT_IN
from tprune.recipe.reader import read_recipe
from tprune.recipe.schema import Analyze, Prune, Recover
from tprune.run.compressed import Latencies
from tprune.run.one_call import pairs_of
from tprune.run.steps import plan_step
from tprune.support.errors import InputError, NoisyMachineError, TpruneWarning, UnreachableError
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.schedule import TrainingConfig
from tprune.train.training_data import TrainingData


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("analyze", [None, pytest.param(Analyze(steps=2, batch_tokens=64), marks=pytest.mark.slow)])
def test_a_model_in_a_smaller_model_out(dtype: torch.dtype, analyze: Analyze | None) -> None:
    model, tokenizer = model_and_tokenizer(dtype)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    done = tprune.compress(
        model,
        tokenizer,
        PAIRS,
        PAIRS.head(8),
        analyze=analyze,
        prune=Prune(steps=3, warmup=1, batch_tokens=64, macs=0.8),
        recover=Recover(steps=3, warmup=1, batch_tokens=64),
    )
    assert done.certificate.forward <= 1e-5
    assert sum(p.numel() for p in done.model.parameters()) < sum(p.numel() for p in model.parameters())
    assert done.plan.selected and (done.analysis is None) == (analyze is None)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_one_call_says_what_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = BUILT_IN.read_text().replace("search: 40", "search: 1")
    assert quick != BUILT_IN.read_text()
    (tmp_path / "quick.yaml").write_text(quick)
    monkeypatch.setattr("tprune.run.one_call.built_in", lambda task: tmp_path / "quick.yaml")
    model, tokenizer = model_and_tokenizer()
    texts = (list(PAIRS.source), list(PAIRS.target))
    shot = tprune.compress(
        model, tokenizer, texts, (texts[0][:8], texts[1][:8]), macs=0.8, one_shot=True, kinds=["ffn", "heads"]
    )
    assert isinstance(shot, tprune.Compressed) and shot.asked == ("macs", 0.8) and shot.steps == {}
    assert (
        shot.reached.macs
        == shot.predicted.macs
        == size(shot.model).macs
        <= 0.8 * shot.dense.macs
        == 0.8 * size(model).macs
    )
    assert set(shot.losses) == {"dense", "cut"} and shot.times is None
    for line in (
        "asked for: macs 0.8",
        f"multiplications: {shot.dense.macs:,} to {shot.reached.macs:,} (",
        f"kept: heads {shot.kept['heads'][0]} of 6, ffn {shot.kept['ffn'][0]} of 64",
        "training: one shot, no training of the smaller model",
        f"validation loss: dense {shot.losses['dense']:.3f}, cut {shot.losses['cut']:.3f} nats per token",
        "(limit 1e-05), over 8 sentences",
    ):
        assert line in str(shot), line
    assert repr(shot) == str(shot) and 0 < shot.kept["ffn"][0] < 64
    timed = str(replace(shot, asked=("speedup", 2.0), times=Latencies(10.0, 4.9, 5.0, TimingConfig(batch=3))))
    assert "asked for: speedup 2\n" in timed
    assert (
        "a sentence: 10 ms dense, predicted 4.9 ms, measured 5 ms: 2.00x faster (onnxruntime, 1 thread(s), batch 3)"
        in timed
    )

    taught = Recover(steps=4, warmup=1, batch_tokens=64, eval_every=1, patience=1, lr=1e-9)
    stopped = tprune.compress(model, tokenizer, PAIRS, PAIRS.head(8), prune=Prune(steps=0, macs=0.8), recover=taught)
    assert stopped.steps["recover"] < 4  # it stopped early, and says so
    assert f"training: {stopped.steps['recover']} steps (recovery)" in str(stopped) and "recovered" in stopped.losses
    trained = tprune.compress(
        model,
        tokenizer,
        PAIRS,
        PAIRS.head(8),
        prune=Prune(steps=3, warmup=1, batch_tokens=64, macs=0.8),
        recover=Recover(steps=2, warmup=1),
    )
    assert trained.steps == {
        "prune": 3,
        "recover": 2,
    } and "training: 3 steps (while pruning), 2 steps (recovery)" in str(trained)


def test_one_call_has_the_settings_of_the_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches the work is the built-in recipe with the arguments in it, as on the command line."""
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr("tprune.run.one_call._compress", lambda *given: seen.append(given))
    built_in = read_recipe(BUILT_IN)
    tprune.compress(None, None, PAIRS, PAIRS, speedup=2)
    tprune.compress(None, None, PAIRS, PAIRS, latency_ms=5, steps=7, kinds=["ffn"], threads=1, batch=3, seed=4)
    tprune.compress(None, None, PAIRS, PAIRS, params=0.5, one_shot=True)
    recipes = [(given[3], given[4]) for given in seen]
    (plain, timed, shot) = ((recipe.prune, recipe.recover, setting, recipe.seed) for recipe, setting in recipes)
    assert not any(recipe.analyze.steps for recipe, _ in recipes)
    assert plain == (built_in.prune.model_copy(update={"speedup": 2.0}), built_in.recover, TimingConfig(), 0)
    assert timed[0] == built_in.prune.model_copy(update={"latency_ms": 5.0, "kinds": ["ffn"]})
    assert (timed[1].steps, timed[2], timed[3]) == (7, TimingConfig(threads=1, batch=3), 4)
    assert shot[0] == built_in.prune.model_copy(update={"params": 0.5, "floor": 0.0}) and shot[1].steps == 0
    assert plain[1].steps == 3000  # what the help says
    assert inspect.signature(tprune.compress).parameters["speedup"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            {},
            r"what should it become\? give one of speedup, macs, params, bytes, latency_ms, memory_mb, "
            r"such as speedup=2",
        ),
        ({"macs": 0.5, "speedup": 2}, "give exactly one of .*got macs 0.5 and speedup 2"),
        ({"macs": 0.5, "prune": Prune(steps=0, macs=0.5)}, "prune= says all of it; leave out macs=0.5"),
        (
            {"kinds": ["ffn"], "one_shot": True, "prune": Prune(steps=0, macs=0.5)},
            r"leave out kinds=\['ffn'\] and one_shot=True",
        ),
        ({"macs": 0.5, "steps": 3, "recover": Recover(steps=0)}, "recover= says all of it; leave out steps=3"),
        ({"speedup": 2, "batch": 3, "setting": TimingConfig()}, "setting= says all of it; leave out batch=3"),
        ({"macs": 0.5, "one_shot": True, "steps": 3}, "one_shot=True trains nothing; leave out steps=3"),
        ({"macs": 0.5, "kinds": "ffn"}, r"kinds='ffn': expected a list, such as kinds=\['ffn'\]"),
        ({"macs": 0.5, "kinds": ["fnn"]}, "compress: prune.kinds.0: expected one of ffn, heads, "),
        ({"macs": 7}, "compress: prune.macs: expected a fraction"),
        ({"macs": 0.5, "batch": 3, "threads": 1}, "threads=1 and batch=3: nothing is timed for macs; leave them out"),
        ({"speedup": 2, "threads": 999}, "threads 999; expected 1"),
        ({"speedup": 2, "runtime": "lunch"}, "bench.runtime: expected one of onnxruntime"),
    ],
)
def test_contradictions_are_refused_by_name(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        tprune.compress(None, None, PAIRS, PAIRS, **arguments)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("a cat sat", "train: got 'a cat sat'; expected tprune.read_pair"),
        ([("a cat", "x y"), ("a dog", "x u")], "train: got a list; expected tprune.read_pair"),
        (("a cat sat", "x y z"), "train: its sources are a str; expected"),
        ((["a cat"], [3]), "train: number 0 of its translations is a int"),
        ((["a cat"], ["x", "y"]), "the source has 1 lines and the target 2"),
    ],
)
def test_sentences_that_are_none_are_refused(given: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        tprune.compress(None, None, given, PAIRS, macs=0.5)
    assert pairs_of((PAIRS.source, list(PAIRS.target)), "train") == replace(PAIRS, name="train")


@pytest.mark.slow
def test_a_teacher_can_teach_all_at_once() -> None:
    model, tokenizer = model_and_tokenizer()
    said: list[str] = []
    how = Recover(
        steps=3, warmup=1, batch_tokens=64, distill=0.5, hidden_distillation=0.5, sequence_distillation=0.5, rewind=10
    )
    prune = Prune(steps=0, parameters=0.7, kinds=["ffn", "width"])
    done = tprune.compress(model, tokenizer, PAIRS, PAIRS.head(8), prune=prune, recover=how, report=said.append)
    assert done.model.get_input_embeddings().weight.shape[1] < 16
    assert "translated 0 of 32 training sentences" in said


def test_training_under_bf16_leaves_the_forward_pass_and_the_cache_as_they_were(tmp_path: Any) -> None:
    model, tokenizer = model_and_tokenizer()
    material = TrainingData.of(TRANSLATION, model, tokenizer, PAIRS, PAIRS.head(8), precision="bf16")
    material.run(model, TrainingConfig(2, warmup=1, batch_tokens=64), tmp_path)
    assert model.config.use_cache is True
    logits = model.eval()(**material.batch()).logits
    assert logits.dtype == torch.float32
    how = Prune(steps=0, macs=0.8)
    plan = select_plan(model, plan_step(model, how), how, None)
    assert certify(model, plan, tprune.shrink(model, plan), material.batch()).forward <= 1e-6


def test_a_bold_time_is_refused_before_the_table_is_measured() -> None:
    model, _ = model_and_tokenizer()
    timed: list[Plan] = []

    class Stopped:
        """A timer to which the smallest model takes 4 of the dense one's 12 milliseconds."""

        def times(self, plan: Plan, table: LatencyTable, against: float | None = None) -> Times:
            timed.append(plan)
            return sentence_times(1.0, 0.3, 4.0)

    table = LatencyTable("0", TimingConfig(), sentence_times(2.0, 1.0, 12.0), 10.0, (), {}, 40_000_000)
    for target, floor, refused, looks in (
        ({"speedup": 1.9}, 0.1, False, 0),
        ({"speedup": 2.9}, 0.1, False, 1),
        ({"speedup": 4.0}, 0.1, True, 1),
        ({"speedup": 4.0}, 0.0, False, 1),
        ({"latency_ms": 0.001}, 0.0, True, 1),
        ({"memory_mb": 1.0}, 0.1, False, 0),
    ):
        how = Prune(steps=0, floor=floor, **target)
        timed.clear()
        check: Any = Feasibility(model, plan_step(model, how), how).quick_feasibility_check
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

        def times(self, plan: Plan, table: LatencyTable, against: float | None = None) -> Times:
            raise NoisyMachineError("varies by 20%")

    how = Prune(steps=0, speedup=4.0)
    unsure: Any = Feasibility(model, plan_step(model, how), how)
    unsure.quick_feasibility_check(Restless(), table)


def test_a_budget_by_loss_needs_no_clock_for_sizes_and_a_confirmed_one_for_times() -> None:
    model, tokenizer = model_and_tokenizer()
    material = TrainingData.of(TRANSLATION, model, tokenizer, PAIRS, PAIRS.head(8))
    how = Prune(steps=0, kinds=["ffn", "heads", "sublayer"], macs=0.7, allocation="loss")
    plan = plan_step(model, how)
    timing = DenseTiming(model, tokenizer, PAIRS.source, TimingConfig(), material.task)
    evidence = gather_evidence(timing, plan, material, how)
    assert evidence.table is None and len(evidence.curves) == len(plan.entries)
    by_loss, alike = select_plan(model, plan, how, None, evidence), select_plan(model, plan, how, None)
    assert by_loss.reached["macs"] <= by_loss.asked["macs"] == alike.asked["macs"]
    assert certify(model, by_loss, tprune.shrink(model, by_loss), material.batch()).forward <= 1e-5
    with pytest.raises(InputError, match="only a time can be confirmed, got macs"):
        verify_latency(model, tokenizer, plan, how, evidence, PAIRS.source)
    timed = Prune(steps=0, kinds=["ffn", "heads", "sublayer"], speedup=1.2)
    for needs in (timed, Prune(steps=0, memory_mb=30.0)):
        with pytest.raises(InputError, match="needs a latency table of this machine"):
            select_plan(model, plan, needs, None, evidence)
    places = ("encoder.self_attn", "encoder.ffn", "decoder.self_attn", "decoder.encoder_attn", "decoder.ffn")
    prices = [Price(p, "ffn" if "ffn" in p else "heads", (0.2, 0.2)) for p in places]
    prices += [Price(p, "sublayer", (0.05, 0.05)) for p in places]
    table = LatencyTable("0", TimingConfig(), sentence_times(2.0, 1.0, 12.0), 10.0, (), {}, 40_000_000, tuple(prices))
    evidence = replace(evidence, table=table)

    def half(chosen: Plan) -> Times:
        added = table.predict_plan(chosen)
        return sentence_times(1 + added.of("encoder") / 2, 0.5 + added.of("token") / 2, 6 + added.total / 2)

    found = verify_latency(model, tokenizer, plan, timed, evidence, PAIRS.source, half)
    assert found.plan.asked == {"sentence_ms": 10.0} and found.measured.total <= 10.0 and found.tried == 2
    assert select_plan(model, plan, timed, None, replace(evidence, table=found.table)) == found.plan
    memory = select_plan(model, plan, Prune(steps=0, memory_mb=39.995), None, evidence)
    assert memory.reached["memory_mb"] <= 39.995


@pytest.mark.parametrize("target", [{"speedup": 1.5}, {"macs": 0.8, "sequence_distillation": 1.0}])
def test_what_a_runtime_cannot_do_is_said_before_it_is_asked(
    target: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = model_and_tokenizer()
    monkeypatch.setattr("tprune.run.sequence.gather_evidence", None)  # nothing of the kind is begun
    model.generation_config.encoder_no_repeat_ngram_size = 3
    how = Prune(steps=1, warmup=1, batch_tokens=64, **target)
    with pytest.raises(InputError, match="encoder_no_repeat_ngram_size is 3"):
        tprune.compress(model, tokenizer, PAIRS, PAIRS.head(8), prune=how, recover=Recover(steps=1, batch_tokens=64))


def test_a_limit_that_nobody_chose_is_warned_of() -> None:
    model, tokenizer = model_and_tokenizer()
    model.generation_config.max_length = None
    how = Prune(steps=1, warmup=1, batch_tokens=64, macs=0.8)
    with pytest.warns(TpruneWarning, match="ends after 20 tokens"):
        tprune.compress(model, tokenizer, PAIRS, PAIRS.head(8), prune=how, recover=Recover(steps=0))


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        (["a b", ""], "number 1 of its sources is empty"),
        (["a\nb", "a"], "number 0 of its sources has several lines"),
        (["a\0b", "a"], "number 0 of its sources holds a NUL byte"),
        (["a \ud83d", "a"], r"number 0 of its sources holds half of a surrogate pair"),
    ],
)
def test_sentences_of_a_call_obey_the_rules_of_files(sources: list[str], says: str) -> None:
    with pytest.raises(InputError, match=f"train: {says}"):
        pairs_of((sources, ["x", "y"]), "train")
    assert pairs_of((["a b", "a"], ["x", "y"]), "train").source == ("a b", "a")


@pytest.mark.parametrize("value", [True, "0.5", [0.5]])
def test_a_target_is_a_number(value: Any) -> None:
    with pytest.raises(InputError, match=r"macs=.*: expected a number"):
        tprune.compress(None, None, PAIRS, PAIRS, macs=value)  # type: ignore[arg-type]
